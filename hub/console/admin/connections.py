"""Connections: choose a channel, fill in what its adapter asks for, copy the webhook address."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from pydantic import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget

from agents.models import Agent
from channels_adapters.registry import AdapterType, ChannelUnknown, adapter_type, adapters
from hub.console.base import ChoiceFilter, ConsoleAdmin, Form, Rank, _, capitalise, site
from hub.console.decorators import display
from hub.console.drawing import DASH, badge, copyable, link
from hub.console.pydantic_fields import PREFIX, collect, errors_by_field, form_fields
from hub.models import Connection, ConnectionStatus
from hub.pipeline.connections import open_credentials, seal_credentials
from hub.pipeline.operating import note
from hub.pipeline.reading import vault
from tenants.context import current_tenant

STATUS_LABEL = {"active": "good", "paused": "warn", "disabled": "bad"}


class ConnectionForm(Form):
    """The row's own fields; the channel's are added by `form_for`."""

    adapter: AdapterType | None = None
    stored: dict[str, Any] = {}
    agent_id = forms.TypedChoiceField(label=_("agent"), widget=UnfoldAdminSelectWidget)

    class Meta:
        model = Connection
        fields = ("name", "agent_id", "status", "burst", "debounce_ms", "on_unknown", "delivery_window")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)
        if "agent_id" in self.fields:
            agents = Agent.objects.order_by("name").values_list("id", "name")[:500]
            self.fields["agent_id"].choices = list(agents)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Check the channel's fields with the adapter's own rules, so that the row and the door agree."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.adapter is None or self.errors:
            return cleaned
        values = collect(self.adapter.credentials_type, cleaned, self.stored)
        try:
            self.adapter.credentials_type(**values)
        except ValidationError as error:
            for field, words in errors_by_field(error).items():
                self.add_error(field if field in self.fields else None, words)
        cleaned["credentials"] = values
        return cleaned


def form_for(adapter: AdapterType, stored: dict[str, Any]) -> type[ConnectionForm]:
    """The form of one channel."""
    fields = form_fields(adapter.credentials_type, stored)
    return type("ChannelForm", (ConnectionForm,), {**fields, "adapter": adapter, "stored": stored})


class StatusFilter(ChoiceFilter):
    """One status."""

    title = _("status")
    parameter_name = field = "status"
    options = ConnectionStatus.choices


class ConnectionAdmin(ConsoleAdmin):
    """Accounts on channels."""

    add_rank = change_rank = Rank.OPERATOR
    delete_rank = Rank.OWNER
    list_display = ("name", "shown_channel", "shown_status", "agent", "last_event_at", "created")
    list_filter = (StatusFilter,)
    ordering = ("-id",)
    readonly_fields = ("shown_channel", "webhook", "shown_status", "status_detail", "last_event_at", "agent")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """First the channel, then its form."""
        if _chosen(request) is None and self.has_add_permission(request):
            context = {
                **self.admin_site.each_context(request),
                "title": _("Connect a channel"),
                "opts": self.opts,
                "channels": [{"slug": slug, "name": kind.name} for slug, kind in adapters().items()],
                "has_agents": Agent.objects.exists(),
            }
            return TemplateResponse(request, "console/choose_channel.html", context)
        return super().add_view(request, form_url, extra_context)  # type: ignore[no-any-return]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """The form of the row's channel."""
        adapter = _adapter(obj.channel) if obj else _chosen(request)
        if adapter is not None and self._may(request, Rank.OPERATOR):
            stored = open_credentials(vault(), obj) if obj else {}
            kwargs["form"] = form_for(adapter, stored)
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The row, the channel's own fields, how messages are treated."""
        adapter = _adapter(obj.channel) if obj else _chosen(request)
        writes = self._may(request, Rank.OPERATOR)
        own = [f"{PREFIX}{name}" for name in adapter.credentials_type.model_fields] if adapter and writes else []
        agent = "agent_id" if writes else "agent"
        head = ["name", agent, *(["status", "shown_channel", "webhook", "status_detail"] if obj else [])]
        return (
            (None, {"fields": head}),
            *(((adapter.name, {"fields": own}),) if adapter and own else ()),
            (_("Treatment"), {"fields": ["burst", "debounce_ms", "on_unknown", "delivery_window"]}),
        )

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:  # noqa: FBT001
        """Seal the credentials into the row."""
        if not change:
            obj.tenant_id = current_tenant()
            obj.channel = form.adapter.slug
        seal_credentials(vault(), obj, form.cleaned_data["credentials"])
        origins = form.cleaned_data["credentials"].get("allowed_origins")
        if isinstance(origins, str):
            obj.allowed_origins = origins.split()
        super().save_model(request, obj, form, change)
        kind = "connection.changed" if change else "connection.created"
        note(obj.tenant_id, kind, data={"by": request.user.get_username()}, connection_id=obj.id)

    @display(description=_("channel"))
    def shown_channel(self, obj: Connection) -> str:
        """The channel's name."""
        adapter = _adapter(obj.channel)
        return adapter.name if adapter else obj.channel

    @display(description=_("status"))
    def shown_status(self, obj: Connection) -> SafeString:
        """The status, coloured."""
        short = {"active": _("active"), "paused": _("paused"), "disabled": _("disabled")}
        return badge(STATUS_LABEL[obj.status], short.get(obj.status, obj.status))

    @display(description=_("agent"))
    def agent(self, obj: Connection) -> SafeString | str:
        """The agent that answers."""
        return link("agents_agent", obj.agent_id)

    @display(description=_("webhook address"))
    def webhook(self, obj: Connection) -> SafeString | str:
        """What the platform must call; nothing for channels that the hub serves itself."""
        adapter = _adapter(obj.channel)
        if adapter is None or adapter.capabilities.pull:
            return DASH
        return copyable(f"{settings.HUB_PUBLIC_URL}{obj.webhook_path}")


def _adapter(slug: str) -> AdapterType | None:
    try:
        return adapter_type(slug)
    except ChannelUnknown:
        return None


def _chosen(request: HttpRequest) -> AdapterType | None:
    return _adapter(request.GET.get("channel", ""))


site.register(Connection, ConnectionAdmin)
