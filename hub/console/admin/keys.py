"""API keys (shown once) and members; data keys to look at."""

import secrets
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from agents.models import Agent
from hub.console.base import ConsoleAdmin, Form, Rank, ReadOnlyAdmin, _, capitalise, site
from hub.console.decorators import action, display
from hub.console.drawing import badge
from hub.pipeline.operating import note
from tenants import keys
from tenants.context import current_tenant
from tenants.models import ApiKey, DataKey, Member

SCOPES = (
    ("read", _("read: see sessions, messages and settings")),
    ("write", _("write: change them")),
    ("chat", _("chat: talk to agents through the OpenAI-compatible door")),
)


class KeyForm(Form):
    """Name, scopes, one agent or all, an end."""

    scopes = forms.MultipleChoiceField(
        label=_("scopes"), choices=SCOPES, initial=["chat"], widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    agent_id = forms.TypedChoiceField(
        label=_("only for the agent"), required=False, empty_value=None, widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "agent_id", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)
        agents = Agent.objects.order_by("name").values_list("id", "name")[:200]
        self.fields["agent_id"].choices = [("", _("all agents")), *agents]  # type: ignore[attr-defined]


class ApiKeyAdmin(ConsoleAdmin):
    """Keys: issued here, never shown again."""

    view_rank = Rank.OPERATOR
    add_rank = Rank.OWNER
    list_display = ("name", "shown_prefix", "shown_scopes", "state", "created_at", "last_used_at", "expires_at")
    ordering = ("-id",)
    actions = ("revoke",)
    fields = ("name", "shown_prefix", "shown_scopes", "state", "created_at", "last_used_at", "expires_at", "revoked_at")
    readonly_fields = fields
    actions_detail = ("revoke_this",)
    issued: str = ""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """A new key's own form."""
        if obj is None:
            kwargs["form"] = KeyForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What is chosen at the start, or what is known afterwards."""
        return KeyForm.Meta.fields if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nothing of an issued key changes, but its end."""
        return () if obj is None else self.fields

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:  # noqa: FBT001
        """Issue it; the secret only lives in this request."""
        issued = keys.issue(
            current_tenant(), scopes=obj.scopes, name=obj.name, agent_id=obj.agent_id, expires_at=obj.expires_at
        )
        obj.pk = obj.id = issued.id
        obj.prefix = issued.key.split("_")[1]
        request.issued_key = issued.key  # type: ignore[attr-defined]
        note(current_tenant(), "api_key.issued", data={"by": request.user.get_username(), "prefix": obj.prefix})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, once: the page is never stored."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("Your new API key"),
            "opts": self.opts,
            "key": request.issued_key,  # type: ignore[attr-defined]
        }
        response = TemplateResponse(request, "console/secret_once.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners."""
        return self._may(request, Rank.OWNER)

    @action(description=_("Revoke"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End the chosen keys."""
        ended = sum(_revoke(request, row) for row in queryset.only("id", "prefix", "tenant_id"))
        messages.success(request, _("%(count)d keys revoked.") % {"count": ended})

    @action(description=_("Revoke"), permissions=["revoke"], url_path="revoke")
    def revoke_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End this key."""
        from django.shortcuts import get_object_or_404, redirect

        _revoke(request, get_object_or_404(ApiKey, pk=object_id))
        messages.success(request, _("The key is revoked."))
        return redirect("admin:tenants_apikey_changelist")

    @display(description=_("key"))
    def shown_prefix(self, obj: ApiKey) -> str:
        """Its public part."""
        return f"hub_{obj.prefix}_…"

    @display(description=_("scopes"))
    def shown_scopes(self, obj: ApiKey) -> str:
        """Its scopes."""
        return ", ".join(obj.scopes)

    @display(description=_("state"))
    def state(self, obj: ApiKey) -> SafeString:
        """Whether it still opens anything."""
        return badge("bad", _("revoked")) if obj.revoked_at else badge("good", _("valid"))


class MemberForm(Form):
    """A member by user name; somebody unknown gets an account."""

    username = forms.CharField(label=_("user name"), max_length=150, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = Member
        fields = ("role",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)


class MemberAdmin(ConsoleAdmin):
    """Who belongs to the tenant."""

    view_rank = Rank.OPERATOR
    add_rank = change_rank = delete_rank = Rank.OWNER
    list_display = ("user", "role", "created_at")
    list_select_related = ("user",)
    ordering = ("id",)
    fields = ("user", "role")
    readonly_fields = ("user",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """By user name when new."""
        if obj is None:
            kwargs["form"] = MemberForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The name is given once."""
        return ("username", "role") if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The person does not change."""
        return () if obj is None else ("user",)

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:  # noqa: FBT001
        """Find or make the account."""
        if not change:
            users = get_user_model().objects
            user = users.filter(username=form.cleaned_data["username"]).first()
            if user is None:
                password = secrets.token_urlsafe(12)
                user = users.create_user(form.cleaned_data["username"], password=password)
                request.first_password = password  # type: ignore[attr-defined]
            obj.user_id = user.pk
        super().save_model(request, obj, form, change)
        note(current_tenant(), "member.set", data={"by": request.user.get_username(), "role": obj.role})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """A new account's password is shown once."""
        password = getattr(request, "first_password", "")
        if not password:
            return super().response_add(request, obj, post_url_continue)  # type: ignore[no-any-return]
        context = {
            **self.admin_site.each_context(request),
            "title": _("First password of %(name)s") % {"name": obj.user.get_username()},
            "opts": self.opts,
            "key": password,
        }
        response = TemplateResponse(request, "console/secret_once.html", context)
        response["Cache-Control"] = "no-store"
        return response


class DataKeyAdmin(ReadOnlyAdmin):
    """Which keys seal a tenant's content; never the keys themselves."""

    view_rank = Rank.STAFF
    list_display = ("purpose", "suite", "active_from", "retired_at", "created_at")
    ordering = ("purpose",)


def _revoke(request: HttpRequest, row: ApiKey) -> bool:
    ended = keys.revoke(row.tenant_id, row.id)
    if ended:
        note(row.tenant_id, "api_key.revoked", data={"by": request.user.get_username(), "prefix": row.prefix})
    return ended


site.register(ApiKey, ApiKeyAdmin)
site.register(Member, MemberAdmin)
site.register(DataKey, DataKeyAdmin)
