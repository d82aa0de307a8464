"""The current tenant of a request: chosen in the session, entered for the admin and REST, and nowhere else.

Members work in their own tenants. Platform staff work in any tenant, or read all of them with an automatic reason.
Pages about accounts and plans belong to no tenant and get no scope, so that staff may use them at any time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from hub.pipeline.operating import note
from tenants.context import ops_scope, tenant_scope
from tenants.members import Seat, memberships, seat_of
from tenants.models import Tenant

SESSION_KEY = "tenant"
SCOPED = ("/admin/", "/api/")
PLATFORM = tuple(
    f"/admin/{path}/"
    for path in ("login", "logout", "password_change", "jsi18n", "scope", "auth", "tenants/plan", "tenants/tenant/add")
)
MOST_CHOICES = 30

_log = structlog.get_logger(__name__)


class TenancyMiddleware:
    """Puts `request.seat` in place and runs the view under its scope. Comes after authentication."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Find the seat, enter its scope, call on."""
        request.seat = None  # type: ignore[attr-defined]
        if not request.path.startswith(SCOPED) or not request.user.is_authenticated:
            return self.get_response(request)
        seat = _seat(request)
        request.seat = seat  # type: ignore[attr-defined]
        with _entered(seat, request):
            return self.get_response(request)


def seat(request: HttpRequest) -> Seat | None:
    """Where the request's user sits, None for strangers."""
    return getattr(request, "seat", None)


def _seat(request: HttpRequest) -> Seat | None:
    user, chosen = request.user, request.session.get(SESSION_KEY)
    wanted = _uuid(chosen)
    if chosen is None and user.is_staff:
        wanted = _only_tenant()
    return seat_of(int(user.pk or 0), staff=bool(user.is_staff), wanted=wanted)


def _only_tenant() -> UUID | None:
    """Where there is one tenant alone, staff who have not chosen yet sit in it: there is nothing to choose."""
    with ops_scope("is there one tenant alone"):
        found = list(Tenant.objects.values_list("id", flat=True)[:2])
    return found[0] if len(found) == 1 else None


@contextmanager
def _entered(seat: Seat | None, request: HttpRequest) -> Iterator[None]:
    if seat is None or request.path.startswith(PLATFORM):
        yield
    elif seat.tenant_id is not None:
        with tenant_scope(seat.tenant_id):
            yield
    else:
        _log.info("console_all_tenants", user=seat.user_id, method=request.method, path=request.path)
        with ops_scope(f"console, user {seat.user_id}: {request.path[:120]}"):
            yield


def choices(request: HttpRequest, wanted: str = "") -> list[dict[str, str]]:
    """The tenants that the switcher offers: a member's own, or the newest for staff; `wanted` is part of a name."""
    seated = _seat(request)
    if seated is None:
        return []
    if not request.user.is_staff:
        mine = [row.tenant for row in memberships(seated.user_id)]
        found = [one for one in mine if wanted.lower() in f"{one.name} {one.slug}".lower()]
        return [_choice(one) for one in found[:MOST_CHOICES]]
    with ops_scope("tenants of the switcher"):
        rows: Any = Tenant.objects.only("id", "name", "slug", "status").order_by("-id")
        if wanted:
            rows = rows.filter(Q(name__icontains=wanted) | Q(slug__icontains=wanted)).order_by("name")
        return [_choice(one) for one in rows[:MOST_CHOICES]]


def _choice(row: Tenant) -> dict[str, str]:
    return {"id": str(row.id), "name": row.name, "slug": row.slug, "status": row.status}


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """The switcher's look-up while somebody types: `q` is part of a name."""
    found = choices(request, request.GET.get("q", "").strip()[:80])
    response = JsonResponse({"tenants": found, "all": bool(request.user.is_staff)})
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """Choose a tenant (`tenant`), or all of them (empty, staff only). Entering one as staff is noted there."""
    wanted = _uuid(request.POST.get("tenant"))
    chosen = seat_of(int(request.user.pk or 0), staff=bool(request.user.is_staff), wanted=wanted)
    if chosen is None or chosen.tenant_id != wanted:
        raise Http404
    request.session[SESSION_KEY] = str(wanted or "")
    if request.user.is_staff:
        _audit(request, wanted)
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(target if safe else "/admin/")


def _audit(request: HttpRequest, tenant_id: UUID | None) -> None:
    if tenant_id is not None:
        with tenant_scope(tenant_id):
            note(tenant_id, "console.entered", data={"user": request.user.get_username()})
        return
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        action_flag=CHANGE,
        object_repr=_("all tenants"),
        change_message="console.all_tenants",
    )


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None
