"""What is remembered: sizes and states, never the sealed words."""

from typing import Any

from django.utils.safestring import SafeString

from agents.models import Checkpoint, ToolCall
from hub.console.base import Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.console.drawing import link
from hub.console.titles import NamedSessions
from hub.console.words import EFFECTS, ROLES
from hub.templatetags.turns import moment
from memory.models import MemoryBatch, MemoryLine, Summary


class SummaryAdmin(NamedSessions, ReadOnlyAdmin):
    """Fragments told short."""

    intro = _("What was told short of longer conversations. The words themselves are sealed.")
    list_display = ("when", "shown_session", "first_seq", "last_seq", "lines", "by_model", "embedder")
    fields = (
        "shown_session",
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

    @display(description=_("time"))
    def when(self, obj: Summary) -> SafeString | str:
        """When it was made."""
        return moment(obj.created)


class MemoryBatchAdmin(NamedSessions, ReadOnlyAdmin):
    """Orders to summarise."""

    intro = _("Parts of conversations that are being told short, and what went wrong with them.")
    list_display = ("when", "shown_session", "first_seq", "last_seq", "state", "attempts", "finished", "error")
    fields = (
        "claimed_at",
        "shown_session",
        "subject_id",
        "first_seq",
        "last_seq",
        *list_display[4:6],
        "due_at",
        "finished_at",
        "error",
    )
    ordering = ("-id",)

    @display(description=_("time"))
    def when(self, obj: MemoryBatch) -> SafeString | str:
        """When it was decided."""
        return moment(obj.claimed_at)

    @display(description=_("finished"))
    def finished(self, obj: MemoryBatch) -> SafeString | str:
        """When it was done."""
        return moment(obj.finished_at)


class MemoryLineAdmin(NamedSessions, ReadOnlyAdmin):
    """Lines that no finished summary holds yet."""

    intro = _("What was said lately and is not summarised yet. The words themselves are sealed.")
    list_display = ("when", "shown_session", "seq", "shown_role", "tokens", "done")
    fields = ("shown_session", "subject_id", "seq", "shown_role", "tokens", "batch_id", "done", "said_at")
    ordering = ("-id",)

    @display(description=_("time"))
    def when(self, obj: MemoryLine) -> SafeString | str:
        """When it was said."""
        return moment(obj.said_at)

    @display(description=_("role"))
    def shown_role(self, obj: MemoryLine) -> str:
        """Who said it, in words."""
        return str(ROLES.get(obj.role, obj.role))


class CheckpointAdmin(NamedSessions, ReadOnlyAdmin):
    """Where each session's agent stands."""

    view_rank = Rank.OPERATOR
    intro = _("Where the agent stands in each conversation, so that another process can go on. Sealed.")
    list_display = ("shown_session", "version")
    fields = ("shown_session", "version")
    ordering = ("-id",)


class ToolCallAdmin(ReadOnlyAdmin):
    """Tool calls with effects, and whether their result is known."""

    view_rank = Rank.OPERATOR
    intro = _("Tools that act leave an entry here before they run, so that nothing is done twice.")
    list_display = ("when", "name", "shown_effect", "shown_turn", "finished")
    fields = ("created", *list_display[1:])
    ordering = ("-id",)

    @display(description=_("time"))
    def when(self, obj: ToolCall) -> SafeString | str:
        """When it was asked for."""
        return moment(obj.created)

    @display(description=_("effect"))
    def shown_effect(self, obj: ToolCall) -> str:
        """Whether it may be repeated."""
        return str(EFFECTS.get(obj.effect, obj.effect))

    @display(description=_("turn"))
    def shown_turn(self, obj: Any) -> SafeString | str:
        """The turn that asked for it."""
        return link("hub_turn", obj.turn_id, str(_("trace")))


site.register(Summary, SummaryAdmin)
site.register(MemoryBatch, MemoryBatchAdmin)
site.register(MemoryLine, MemoryLineAdmin)
site.register(Checkpoint, CheckpointAdmin)
site.register(ToolCall, ToolCallAdmin)
