"""Accounts and processes: the platform's own, for staff."""

from typing import Any

from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from hub.console.base import ConsoleAdmin, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.console.words import PROCESSES
from hub.models import Worker
from hub.templatetags.turns import moment
from tenants.members import memberships


class UserAdmin(DjangoUserAdmin, ConsoleAdmin):  # type: ignore[misc, type-arg]
    """Accounts. They are closed rather than deleted, so that the trail of what they did stays."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    view_rank = add_rank = change_rank = Rank.STAFF
    platform = True
    intro = _("Accounts of this console. Members of tenants are added under Members.")
    list_display = ("username", "email", "is_staff", "is_active", "seen")
    list_filter = ("is_staff", "is_active")
    filter_horizontal = ()
    ordering = ("id",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Access"), {"fields": ("is_active", "is_staff", "belongs_to")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined", "belongs_to")

    def page_title(self, row: User) -> str:
        """The name that people sign in with."""
        return row.get_username()

    @display(description=_("last sign-in"))
    def seen(self, obj: User) -> SafeString | str:
        """When this account last came in."""
        return moment(obj.last_login)

    @display(description=_("member of"))
    def belongs_to(self, obj: User) -> str:
        """The tenants and the role in each."""
        return ", ".join(f"{row.tenant.name} ({row.get_role_display()})" for row in memberships(obj.pk)) or "–"

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        """None."""
        return []


class WorkerAdmin(ReadOnlyAdmin):
    """The processes that run turns now."""

    view_rank = Rank.STAFF
    intro = _("The processes of this hub that live now. Each says every few seconds that it does.")
    list_display = ("shown_role", "host", "pid", "started", "seen")
    fields = list_display
    ordering = ("-seen_at",)

    def page_title(self, row: Worker) -> str:
        """What it does, and where."""
        return f"{self.shown_role(row)} · {row.host} {row.pid}"

    @display(description=_("role"))
    def shown_role(self, obj: Worker) -> str:
        """In words."""
        return str(PROCESSES.get(obj.role, obj.role))

    @display(description=_("started"))
    def started(self, obj: Worker) -> SafeString | str:
        """Since when it runs."""
        return moment(obj.started_at)

    @display(description=_("last sign of life"))
    def seen(self, obj: Worker) -> SafeString | str:
        """When it last said that it lives."""
        return moment(obj.seen_at)


site.register(User, UserAdmin)
site.register(Worker, WorkerAdmin)
