"""Agents as rows, and what a conversation with one leaves behind. The hot path uses `agents.store`."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from agents.tools.builtin import BUILT_IN
from memory.types import Policy
from tenants.crypto import CellRef, Vault
from tenants.models import TenantOwned

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

POLICY_FIELDS = frozenset(Policy.__dataclass_fields__)


class Agent(TenantOwned):
    """A tenant's agent. Every save makes a new version; turns that run keep the version they began with."""

    name = models.CharField(_("name"), max_length=80)
    agent_type = models.CharField(_("kind"), max_length=40, default="assistant")
    workflow = models.CharField(_("workflow"), max_length=40, default="standard")
    prompt = models.TextField(_("prompt"), blank=True, default="")
    language = models.CharField(_("language"), max_length=16, blank=True, default="")
    routes = models.JSONField(_("model routes"), blank=True, default=list)
    """Model routes in order of preference, without their keys: provider, base_url, model, temperature, max_tokens,
    input_cost, output_cost, cached_cost."""
    credentials = models.BinaryField(null=True, editable=False)
    """A sealed JSON list of API keys, one per route."""
    policy = models.JSONField(_("memory policy"), blank=True, default=dict)
    """Memory settings that differ from `memory.types.Policy`'s defaults."""
    tools = models.JSONField(_("tools"), blank=True, default=list)
    blocked_terms = models.JSONField(_("blocked terms"), blank=True, default=list)
    context_tokens = models.PositiveIntegerField(_("most tokens of the context"), default=16_000)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    updated = models.DateTimeField(_("changed"), auto_now=True)

    class Meta(TenantOwned.Meta):
        db_table = "agent"
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="agent_name_once")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse settings that a turn could not run with."""
        unknown = set(self.policy) - POLICY_FIELDS
        if unknown:
            raise _wrong("policy", _("unknown: %(names)s"), unknown)
        missing = [name for name in self.tools if name not in BUILT_IN]
        if missing:
            raise _wrong("tools", _("no such tool: %(names)s"), map(str, missing))
        for route in self.routes:
            if not isinstance(route, dict) or not route.get("model") or not route.get("provider"):
                raise ValidationError({"routes": _("each route needs a provider and a model")})

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save as a new version: caches of the old one are void everywhere."""
        if not self._state.adding:
            self.version += 1
            fields: Iterable[str] | None = kwargs.get("update_fields")
            if fields is not None:
                kwargs["update_fields"] = {*fields, "version", "updated"}
        super().save(*args, **kwargs)

    def seal_keys(self, vault: Vault, keys: Sequence[str]) -> None:
        """Set the routes' API keys (in their order); the tenant's data keys must be loaded. Not saved yet."""
        cell = CellRef(self.tenant_id, "credentials", "agent", "credentials", self.id)
        self.credentials = vault.seal(cell, orjson.dumps(list(keys))) if any(keys) else None


def _wrong(field: str, message: "StrOrPromise", names: Iterable[str]) -> ValidationError:
    return ValidationError({field: ValidationError(message, params={"names": ", ".join(sorted(names))})})


class Checkpoint(TenantOwned):
    """Where a session's agent stands after its last turn: one row per session, its id is the session's."""

    session_id = models.UUIDField(_("session"), unique=True)
    version = models.BigIntegerField(_("version"))
    state = models.BinaryField()
    """Sealed: which lines memory holds, and client tool calls that wait for their results."""

    class Meta(TenantOwned.Meta):
        db_table = "checkpoint"
        verbose_name = _("checkpoint")
        verbose_name_plural = _("checkpoints")


class ToolCall(TenantOwned):
    """The durable ledger of tool calls with effects. No result yet means: intended, outcome unknown."""

    turn_id = models.UUIDField(_("turn"))
    name = models.CharField(_("tool"), max_length=128)
    effect = models.CharField(_("effect"), max_length=12)
    fingerprint = models.BinaryField()
    """SHA-256 of name and arguments, keyed with the tenant's blind key."""
    ordinal = models.IntegerField(_("ordinal"))
    """Tells equal calls of one turn apart."""
    arguments = models.BinaryField()
    result = models.BinaryField(null=True)
    created = models.DateTimeField(_("time"))
    finished = models.DateTimeField(_("finished"), null=True)

    class Meta(TenantOwned.Meta):
        db_table = "tool_call"
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "turn_id", "fingerprint", "ordinal"], name="tool_call_once")
        ]
