"""Accounts and processes: the platform's own, for staff."""

from typing import Any

from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from hub.console.base import ConsoleAdmin, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.models import Worker
from tenants.members import memberships


class UserAdmin(DjangoUserAdmin, ConsoleAdmin):  # type: ignore[misc, type-arg]
    """Accounts. They are closed rather than deleted, so that the trail of what they did stays."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    view_rank = add_rank = change_rank = Rank.STAFF
    platform = True
    list_display = ("username", "email", "is_staff", "is_active", "last_login")
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

    @display(description=_("member of"))
    def belongs_to(self, obj: User) -> str:
        """The tenants and the role in each."""
        return ", ".join(f"{row.tenant.name} ({row.role})" for row in memberships(obj.pk)) or "–"

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        """None."""
        return []


class WorkerAdmin(ReadOnlyAdmin):
    """The processes that run turns now."""

    view_rank = Rank.STAFF
    list_display = ("role", "host", "pid", "started_at", "seen_at")
    ordering = ("-seen_at",)


site.register(User, UserAdmin)
site.register(Worker, WorkerAdmin)
