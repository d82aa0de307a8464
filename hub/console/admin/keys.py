"""API keys (shown once) and members; data keys to look at."""

import secrets
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.utils.translation import ngettext
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from agents.models import Agent
from hub.console.base import ConsoleAdmin, Form, Rank, ReadOnlyAdmin, _, capitalise, site
from hub.console.confirming import Question, ask, confirmed
from hub.console.decorators import action, display
from hub.console.drawing import badge, link
from hub.console.words import PURPOSES
from hub.pipeline.operating import note
from hub.templatetags.console import ago
from hub.templatetags.turns import moment
from tenants import keys
from tenants.audit import Actor, record
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
    intro = _("Programs show a key at the REST API and at the OpenAI-compatible door. A key is shown once.")
    list_display = ("name", "shown_prefix", "shown_scopes", "state", "last_use", "issued_at", "ends")
    ordering = ("-id",)
    actions = ("revoke",)
    fields = (
        "name",
        "shown_prefix",
        "shown_scopes",
        "shown_agent",
        "state",
        "last_use",
        "created_at",
        "expires_at",
        "revoked_at",
    )
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
        scopes = {"scopes": sorted(obj.scopes), "expires_at": obj.expires_at}
        actor = Actor.of(request.user)
        record(current_tenant(), "api_key.issued", actor=actor, subject=obj, label=obj.name, after=scopes)

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

    def page_title(self, row: ApiKey) -> str:
        """Its name, or its beginning."""
        return row.name or str(row)

    @display(description=_("issued"))
    def issued_at(self, obj: ApiKey) -> SafeString | str:
        """When it was made."""
        return moment(obj.created_at)

    @display(description=_("expires"))
    def ends(self, obj: ApiKey) -> SafeString | str:
        """When it ends by itself."""
        return moment(obj.expires_at)

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners."""
        return self._may(request, Rank.OWNER)

    @action(description=_("Revoke"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """End the chosen keys."""
        rows = list(queryset.only("id", "prefix", "name", "tenant_id")[:200])
        if not confirmed(request):
            fields = {"action": "revoke", "_selected_action": [str(row.id) for row in rows]}
            return ask(request, self, _question(rows, reverse("admin:tenants_apikey_changelist"), fields))
        ended = sum(_revoke(request, row) for row in rows)
        words = ngettext("%(count)d key was revoked.", "%(count)d keys were revoked.", ended)
        messages.success(request, words % {"count": ended})
        return None

    @action(description=_("Revoke"), permissions=["revoke"], url_path="revoke")
    def revoke_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End this key."""
        row = get_object_or_404(ApiKey, pk=object_id)
        if not confirmed(request):
            return ask(request, self, _question([row], reverse("admin:tenants_apikey_change", args=[row.id])))
        if _revoke(request, row):
            messages.success(request, _("The key is revoked."))
        else:
            messages.warning(request, _("It was revoked before."))
        return redirect("admin:tenants_apikey_changelist")

    @display(description=_("key"))
    def shown_prefix(self, obj: ApiKey) -> str:
        """Its public part."""
        return f"hub_{obj.prefix}_…"

    @display(description=_("scopes"))
    def shown_scopes(self, obj: ApiKey) -> SafeString:
        """Its scopes."""
        return format_html_join("", '<span class="badge badge-info scope">{}</span> ', ((one,) for one in obj.scopes))

    @display(description=_("state"))
    def state(self, obj: ApiKey) -> SafeString:
        """Whether it still opens anything."""
        if obj.revoked_at:
            return badge("bad", _("revoked"))
        return badge("warn", _("expired")) if obj.expires_at and obj.expires_at <= now() else badge("good", _("valid"))

    @display(description=_("last use"))
    def last_use(self, obj: ApiKey) -> str:
        """How long ago, to the minute."""
        if obj.last_used_at is None:
            return str(_("never"))
        return ago(obj.last_used_at)

    @display(description=_("agent"))
    def shown_agent(self, obj: ApiKey) -> SafeString | str:
        """The one agent that it opens, or all."""
        return link("agents_agent", obj.agent_id) if obj.agent_id else str(_("all agents"))


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
    intro = _("Who may use this console: owners manage keys and members, operators work, viewers look.")
    list_display = ("user", "role", "since")
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

    def page_title(self, row: Member) -> str:
        """The user's name."""
        return row.user.get_username()

    @display(description=_("since"))
    def since(self, obj: Member) -> SafeString | str:
        """When the role was given."""
        return moment(obj.created_at)

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
    intro = _("The keys that seal each tenant's content, by what they are for. They are never shown.")
    list_display = ("shown_purpose", "suite", "begins", "ends")
    fields = list_display
    ordering = ("purpose",)

    def page_title(self, row: DataKey) -> str:
        """What it is for."""
        return self.shown_purpose(row)

    @display(description=_("purpose"))
    def shown_purpose(self, obj: DataKey) -> str:
        """In words."""
        return str(PURPOSES.get(obj.purpose, obj.purpose))

    @display(description=_("in use since"))
    def begins(self, obj: DataKey) -> SafeString | str:
        """From when on it seals."""
        return moment(obj.active_from)

    @display(description=_("retired"))
    def ends(self, obj: DataKey) -> SafeString | str:
        """Since when it only opens."""
        return moment(obj.retired_at)


def _question(rows: Sequence[ApiKey], back: str, fields: Any = None) -> Question:
    return Question(
        title=_("Revoke this key?") if len(rows) == 1 else _("Revoke these keys?"),
        words=_("Whoever uses it is refused within five seconds. A revoked key can never be used again."),
        items=[f"{row.name or '–'} · hub_{row.prefix}_…" for row in rows],
        go=_("Revoke"),
        harms=True,
        back=back,
        fields=fields or {},
    )


def _revoke(request: HttpRequest, row: ApiKey) -> bool:
    with transaction.atomic():
        ended = keys.revoke(row.tenant_id, row.id)
        if ended:
            note(row.tenant_id, "api_key.revoked", data={"by": request.user.get_username(), "prefix": row.prefix})
            record(row.tenant_id, "api_key.revoked", actor=Actor.of(request.user), subject=row, label=row.name)
    return ended


site.register(ApiKey, ApiKeyAdmin)
site.register(Member, MemberAdmin)
site.register(DataKey, DataKeyAdmin)
