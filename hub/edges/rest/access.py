"""Who calls and what they may: API keys by scope, console users by rank. Either way one tenant, and only its rows."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from tenants import keys
from tenants.members import Rank, Seat

READ: Final = "read"
WRITE: Final = "write"
KEYS: Final = "keys"
"""May manage API keys: owners, and keys that may write and are bound to no agent."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant that a request speaks for. `agent_id` narrows it to one agent; `name` is for the audit trail."""

    tenant_id: UUID
    scopes: frozenset[str]
    name: str
    agent_id: UUID | None = None
    grantable: frozenset[str] = frozenset()
    """Scopes that keys made by this caller may have."""

    @property
    def is_authenticated(self) -> bool:
        """What the framework asks of a user."""
        return True


class BearerKey(BaseAuthentication):
    """`Authorization: Bearer hub_…`."""

    def authenticate(self, request: Request) -> tuple[Caller, str] | None:
        """The caller of a valid key; None without a bearer header, so that a console session may count."""
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        grant = keys.find_by_secret_sync(key.strip())
        if grant is None:
            raise AuthenticationFailed("The API key is not valid.")
        if grant.suspended:
            raise PermissionDenied("The tenant of this API key is suspended.")
        scopes = grant.scopes
        if WRITE in scopes and grant.agent_id is None:
            scopes = scopes | {KEYS}
        return Caller(grant.tenant_id, scopes, f"key {grant.id}", grant.agent_id, grant.scopes), "key"

    def authenticate_header(self, request: Request) -> str:
        """Makes the refusal a 401."""
        return "Bearer"


class BearerKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The key in the schema."""

    target_class = BearerKey
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A bearer token."""
        return {"type": "http", "scheme": "bearer", "description": "An API key of the tenant: hub_…"}


def caller_of(request: Request) -> Caller | None:
    """The caller, or None while no tenant is chosen."""
    if isinstance(request.user, Caller):
        return request.user
    seat: Seat | None = getattr(request._request, "seat", None)
    if seat is None or seat.tenant_id is None:
        return None
    scopes = (
        {READ} | ({WRITE} if seat.rank >= Rank.OPERATOR else set()) | ({KEYS} if seat.rank >= Rank.OWNER else set())
    )
    return Caller(
        seat.tenant_id, frozenset(scopes), request.user.get_username(), None, frozenset({READ, WRITE, "chat"})
    )


class InScope(BasePermission):
    """Reading needs `read`, everything else `write`; a view may name another scope in `scope`."""

    message = "The key's scopes do not allow this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the caller may."""
        caller: Caller | None = getattr(view, "caller", None)
        if caller is None:
            return False
        needed = READ if request.method in _SAFE else WRITE
        return needed in caller.scopes and getattr(view, "scope", needed) in caller.scopes | {needed}
