"""What is remembered: sizes and states, never the sealed words."""

from agents.models import Checkpoint, ToolCall
from hub.console.base import Rank, ReadOnlyAdmin, site
from memory.models import MemoryBatch, MemoryLine, Summary


class SummaryAdmin(ReadOnlyAdmin):
    """Fragments told short."""

    list_display = ("created", "session_id", "first_seq", "last_seq", "lines", "by_model", "embedder")
    fields = (
        "session_id",
        "subject_id",
        "first_seq",
        "last_seq",
        "lines",
        "by_model",
        "embedder",
        "superseded_by",
        "created",
    )
    list_defer = ("terms", "vector")
    ordering = ("-id",)


class MemoryBatchAdmin(ReadOnlyAdmin):
    """Orders to summarise."""

    list_display = ("claimed_at", "session_id", "first_seq", "last_seq", "state", "attempts", "finished_at", "error")
    ordering = ("-id",)


class MemoryLineAdmin(ReadOnlyAdmin):
    """Lines that no finished summary holds yet."""

    list_display = ("said_at", "session_id", "seq", "role", "tokens", "done")
    ordering = ("-id",)


class CheckpointAdmin(ReadOnlyAdmin):
    """Where each session's agent stands."""

    view_rank = Rank.OPERATOR
    list_display = ("session_id", "version")
    ordering = ("-id",)


class ToolCallAdmin(ReadOnlyAdmin):
    """Tool calls with effects, and whether their result is known."""

    view_rank = Rank.OPERATOR
    list_display = ("created", "name", "effect", "turn_id", "finished")
    ordering = ("-id",)


site.register(Summary, SummaryAdmin)
site.register(MemoryBatch, MemoryBatchAdmin)
site.register(MemoryLine, MemoryLineAdmin)
site.register(Checkpoint, CheckpointAdmin)
site.register(ToolCall, ToolCallAdmin)
