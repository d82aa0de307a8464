"""The current tenant of a thread or task, read by the database backend, the managers and the logs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows may be seen: one tenant's, or (read-only, with a written reason) everybody's."""

    tenant_id: UUID | None = None
    ops_reason: str = ""


NOBODY = Scope()
_scope: ContextVar[Scope] = ContextVar("hub_scope", default=NOBODY)


class NoTenant(RuntimeError):
    """A tenant-owned row was asked for while no tenant is active."""


def current() -> Scope:
    """The active scope; `NOBODY` sees no row at all."""
    return _scope.get()


def current_tenant() -> UUID:
    """The active tenant's id; raises NoTenant where there is none."""
    tenant_id = _scope.get().tenant_id
    if tenant_id is None:
        raise NoTenant("no tenant is active here")
    return tenant_id


@contextmanager
def tenant_scope(tenant_id: UUID) -> Iterator[None]:
    """Work as this tenant until the block ends."""
    token = _scope.set(Scope(tenant_id=tenant_id))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def ops_scope(reason: str) -> Iterator[None]:
    """Read all tenants' rows as an operator; the reason is written to the audit trail by the caller."""
    if not reason.strip():
        raise ValueError("reading all tenants needs a reason")
    token = _scope.set(Scope(ops_reason=reason))
    try:
        yield
    finally:
        _scope.reset(token)
