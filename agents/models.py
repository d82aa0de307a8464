"""Agents as rows, and what a conversation with one leaves behind. The hot path uses `agents.store`."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import models

from agents.tools.builtin import BUILT_IN
from memory.types import Policy
from tenants.crypto import CellRef, Vault
from tenants.models import TenantOwned

POLICY_FIELDS = frozenset(Policy.__dataclass_fields__)


class Agent(TenantOwned):
    """A tenant's agent. Every save makes a new version; turns that run keep the version they began with."""

    name = models.CharField(max_length=80)
    agent_type = models.CharField(max_length=40, default="assistant")
    workflow = models.CharField(max_length=40, default="standard")
    prompt = models.TextField(blank=True, default="")
    language = models.CharField(max_length=16, blank=True, default="")
    routes = models.JSONField(blank=True, default=list)
    """Model routes in order of preference, without their keys: provider, base_url, model, temperature, max_tokens,
    input_cost, output_cost, cached_cost."""
    credentials = models.BinaryField(null=True, editable=False)
    """A sealed JSON list of API keys, one per route."""
    policy = models.JSONField(blank=True, default=dict)
    """Memory settings that differ from `memory.types.Policy`'s defaults."""
    tools = models.JSONField(blank=True, default=list)
    blocked_terms = models.JSONField(blank=True, default=list)
    context_tokens = models.PositiveIntegerField(default=16_000)
    version = models.PositiveIntegerField(default=1, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta(TenantOwned.Meta):
        db_table = "agent"
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="agent_name_once")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse settings that a turn could not run with."""
        unknown = set(self.policy) - POLICY_FIELDS
        if unknown:
            raise ValidationError({"policy": f"unknown: {', '.join(sorted(unknown))}"})
        missing = [name for name in self.tools if name not in BUILT_IN]
        if missing:
            raise ValidationError({"tools": f"no such tool: {', '.join(map(str, missing))}"})
        for route in self.routes:
            if not isinstance(route, dict) or not route.get("model") or not route.get("provider"):
                raise ValidationError({"routes": "each route needs a provider and a model"})

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


class Checkpoint(TenantOwned):
    """Where a session's agent stands after its last turn: one row per session, its id is the session's."""

    session_id = models.UUIDField(unique=True)
    version = models.BigIntegerField()
    state = models.BinaryField()
    """Sealed: which lines memory holds, and client tool calls that wait for their results."""

    class Meta(TenantOwned.Meta):
        db_table = "checkpoint"


class ToolCall(TenantOwned):
    """The durable ledger of tool calls with effects. No result yet means: intended, outcome unknown."""

    turn_id = models.UUIDField()
    name = models.CharField(max_length=128)
    effect = models.CharField(max_length=12)
    fingerprint = models.BinaryField()
    """SHA-256 of name and arguments, keyed with the tenant's blind key."""
    ordinal = models.IntegerField()
    """Tells equal calls of one turn apart."""
    arguments = models.BinaryField()
    result = models.BinaryField(null=True)
    created = models.DateTimeField()
    finished = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        db_table = "tool_call"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "turn_id", "fingerprint", "ordinal"], name="tool_call_once")
        ]
