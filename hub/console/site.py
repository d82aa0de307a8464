"""The admin's site: who may enter, how its pages are grouped, and the tenant switcher in its header."""

from typing import Any, ClassVar

from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from unfold.forms import AuthenticationForm as UnfoldLogin
from unfold.sites import UnfoldAdminSite

from hub.console import tenancy
from hub.console.alerts import is_suspended, quota_alerts
from hub.console.overview import overview
from hub.console.start import guide, start
from hub.templatetags.console import named
from tenants.members import Rank, memberships

Group = tuple[str | Promise, tuple[tuple[str, str], ...]]
GROUPS: tuple[Group, ...] = (
    (
        _("Conversations"),
        (
            ("hub.session", "forum"),
            ("hub.message", "chat_bubble"),
            ("hub.turn", "sync"),
            ("hub.delivery", "send"),
            ("hub.contact", "person"),
            ("hub.event", "notifications"),
        ),
    ),
    (_("Set up"), (("agents.agent", "smart_toy"), ("hub.connection", "hub"))),
    (
        _("Tenant"),
        (
            ("tenants.tenant", "apartment"),
            ("tenants.quota", "speed"),
            ("tenants.usage", "monitoring"),
            ("tenants.apikey", "key"),
            ("tenants.member", "group"),
            ("tenants.auditentry", "history"),
        ),
    ),
    (_("Memory"), (("memory.summary", "summarize"), ("memory.memorybatch", "layers"), ("memory.memoryline", "notes"))),
    (
        _("Inside"),
        (
            ("agents.checkpoint", "flag"),
            ("agents.toolcall", "build"),
            ("hub.person", "badge"),
            ("tenants.datakey", "lock"),
        ),
    ),
    (
        _("Platform"),
        (
            ("tenants.plan", "sell"),
            ("auth.user", "manage_accounts"),
            ("hub.worker", "memory"),
            ("tenants.platformaudit", "history_edu"),
        ),
    ),
)


class LoginForm(UnfoldLogin):  # type: ignore[misc]  # unfold carries no types
    """Lets members in beside platform staff."""

    error_messages: ClassVar[dict[str, Any]] = {
        **AuthenticationForm.error_messages,
        "invalid_login": _("There is no such account with this password. Mind capital and small letters."),
    }

    def confirm_login_allowed(self, user: Any) -> None:
        """Refuse people who are neither, in the words that a wrong password gets."""
        AuthenticationForm.confirm_login_allowed(self, user)
        if not user.is_staff and not memberships(user.pk):
            raise self.get_invalid_login_error()


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Open to platform staff and members; what each may do is decided by rank."""

    login_form = LoginForm
    enable_nav_sidebar = True
    index_template = "console/index.html"

    def __init__(self) -> None:
        super().__init__(name="admin")
        self.login_form = LoginForm

    def has_permission(self, request: HttpRequest) -> bool:
        """Whoever has a seat."""
        return bool(request.user.is_active and tenancy.seat(request) is not None)

    def extra_urls(self) -> list[URLPattern]:
        """The tenant switcher's door."""
        return [
            path("scope/", self.admin_view(tenancy.switch), name="scope"),
            path("scope/find/", self.admin_view(tenancy.find), name="scope-find"),
            path("start/", self.admin_view(start), name="start"),
            path("start/<slug:key>/", self.admin_view(start), name="start-step"),
        ]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What all pages know: the seat."""
        context = super().each_context(request)
        seat = tenancy.seat(request)
        context["seat"] = seat
        context["seat_is_staff"] = bool(seat and seat.rank == Rank.STAFF)
        return dict(context)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The start page: where the tenant stands."""
        seated = tenancy.seat(request)
        if seated is None:
            return super().index(request, extra_context)
        alerts = {"quota_alerts": quota_alerts(seated), "tenant_suspended": is_suspended(seated)}
        context = {
            **(extra_context or {}),
            "overview": overview(request, seated),
            "start": guide(seated),
            **alerts,
            "title": _("Overview"),
        }
        return super().index(request, context)

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's page of a package's models: the menu has them, so it leads to the start page."""
        del request, app_label, extra_context
        return HttpResponseRedirect(reverse("admin:index"))

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """The groups with what this user may see."""
        groups: list[dict[str, Any]] = []
        for title, entries in GROUPS:
            items = [item for entry in entries if (item := self._item(request, *entry))]
            if items:
                groups.append({"title": title, "separator": bool(groups), "collapsible": False, "items": items})
        return groups

    def _item(self, request: HttpRequest, label: str, icon: str) -> dict[str, Any] | None:
        admin = next((found for model, found in self._registry.items() if model._meta.label_lower == label), None)
        if admin is None or not admin.has_module_permission(request) or not admin.has_view_permission(request):
            return None
        try:
            link = reverse(f"admin:{label.replace('.', '_')}_changelist")
        except NoReverseMatch:
            return None
        active = request.path.startswith(link)
        return {
            "title": named(admin.opts.verbose_name_plural),
            "icon": icon,
            "link": link,
            "active": active,
            "has_permission": True,
        }


site = ConsoleSite()
