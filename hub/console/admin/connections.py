"""Connections: choose a channel, follow its steps, fill in what its adapter asks for, test it, see how it does."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.models import Agent
from channels_adapters.registry import AdapterType, ChannelUnknown, adapter_type, adapters
from hub.console.admin.connection_form import form_for, own_fields
from hub.console.asking import Asked, ask_platform, can_install, install_webhook
from hub.console.base import ChoiceFilter, ConsoleAdmin, Rank, _, site
from hub.console.channel_help import steps
from hub.console.connection_health import Day, health_of, last_day
from hub.console.decorators import display
from hub.console.drawing import DASH, badge, copyable, link
from hub.console.words import CHANNELS, CONNECTION_STATUS
from hub.models import Connection, ConnectionStatus
from hub.pipeline.connections import open_credentials, seal_credentials
from hub.pipeline.operating import note
from hub.pipeline.reading import vault
from hub.templatetags.turns import moment
from tenants.audit import Actor, record
from tenants.context import current_tenant
from tenants.errors import KeyUnavailable, Tampered

TREATMENT = ("burst", "debounce_ms", "on_unknown", "delivery_window")


class StatusFilter(ChoiceFilter):
    """One status."""

    title = _("status")
    parameter_name = field = "status"
    options = ConnectionStatus.choices


class ConnectionAdmin(ConsoleAdmin):
    """Accounts on channels."""

    add_rank = change_rank = Rank.OPERATOR
    delete_rank = Rank.OWNER
    intro = _("Your accounts on channels: where people write to you, and which agent answers there.")
    list_display = ("name", "shown_channel", "shown_status", "agent", "busy", "last_heard")
    list_filter = (StatusFilter,)
    ordering = ("-id",)
    readonly_fields = ("shown_channel", "webhook", "shown_status", "status_detail", "agent")
    change_form_outer_before_template = "console/connection_head.html"

    def page_title(self, row: Connection) -> str:
        """Its name: the channel stands below."""
        return row.name

    def get_urls(self) -> list[URLPattern]:
        """With the doors of the two buttons."""
        ask = self.admin_site.admin_view(self.ask)
        return [path("<uuid:object_id>/ask/", ask, name="hub_connection_ask"), *super().get_urls()]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """First the channel, then its steps and its form."""
        kind = _chosen(request)
        if kind is None and self.has_add_permission(request):
            context = {
                **self.admin_site.each_context(request),
                "title": _("Connect a channel"),
                "opts": self.opts,
                "channels": [_offered(kind) for kind in adapters().values()],
                "has_agents": Agent.objects.exists(),
            }
            return TemplateResponse(request, "console/choose_channel.html", context)
        known = {}
        if kind is not None:
            title = _("Connect %(channel)s") % {"channel": channel_name(kind)}
            known = {"kind": _offered(kind), "help_steps": steps(kind, ""), "title": title}
        return super().add_view(request, form_url, {**(extra_context or {}), **known})  # type: ignore[no-any-return]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With how it is doing, and what was answered to a test just now."""
        row = self.get_object(request, object_id)
        context = {**(extra_context or {}), **(self._head(request, row) if row is not None else {})}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def _head(self, request: HttpRequest, row: Connection) -> dict[str, Any]:
        kind = _adapter(row.channel)
        if kind is None:
            return {}
        asked = request.session.pop(_key(row), None) if request.method == "GET" else None
        address = _address(row, kind)
        return {
            "kind": _offered(kind),
            "connection": row,
            "address": address,
            "chat_address": _chat_address(row, kind),
            "snippet": _snippet(row),
            "help_steps": steps(kind, address),
            "health": health_of(row),
            "asked": Asked(**asked) if asked else None,
            "may_ask": self._may(request, Rank.OPERATOR),
            "can_install": can_install(kind),
        }

    def ask(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Really ask the platform (or register the webhook there), and show the answer on the page."""
        row = self.get_object(request, str(object_id))
        kind = _adapter(row.channel) if row is not None else None
        if request.method != "POST" or row is None or kind is None:
            raise Http404
        if not self._may(request, Rank.OPERATOR):
            raise PermissionDenied
        values = _stored(request, row)
        if values is None:
            return HttpResponseRedirect(reverse("admin:hub_connection_change", args=[row.id]))
        if request.POST.get("action") == "install" and can_install(kind):
            asked = install_webhook(row, values, _address(row, kind))
        else:
            asked = ask_platform(row, values)
        note(
            row.tenant_id,
            "connection.tested",
            data={"by": request.user.get_username(), "ok": asked.ok},
            connection_id=row.id,
        )
        if asked.ok and row.status == ConnectionStatus.PAUSED:
            # The platform accepts the credentials again: what was paused for that goes on.
            Connection.objects.filter(id=row.id).update(status=ConnectionStatus.ACTIVE, status_detail="")
        request.session[_key(row)] = asdict(asked)
        return HttpResponseRedirect(reverse("admin:hub_connection_change", args=[row.id]))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """The form of the row's channel."""
        adapter = _adapter(obj.channel) if obj else _chosen(request)
        if adapter is not None and self._may(request, Rank.OPERATOR):
            stored = (_stored(request, obj) if obj else None) or {}
            kwargs["form"] = form_for(adapter, stored)
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The row, the channel's own fields, how messages are treated."""
        adapter = _adapter(obj.channel) if obj else _chosen(request)
        writes = self._may(request, Rank.OPERATOR)
        own, advanced = own_fields(adapter) if adapter and writes else ([], [])
        head = ["name", "agent_id" if writes else "agent", *(["status"] if obj else [])]
        return (
            (None, {"fields": head}),
            *(((channel_name(adapter), {"fields": own}),) if adapter and own else ()),
            (_("Treatment"), {"fields": [*TREATMENT, *advanced], "classes": ["collapse"]}),
        )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The agents' names and the last day of a page's connections, each in one look."""
        found = super().get_changelist_instance(request)
        found.result_list = list(found.result_list)
        agents = dict(
            Agent.objects.filter(id__in={row.agent_id for row in found.result_list}).values_list("id", "name")
        )
        days = last_day(row.id for row in found.result_list)
        for row in found.result_list:
            row.agent_name, row.day = agents.get(row.agent_id, ""), days.get(row.id, Day())
        return found

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:  # noqa: FBT001
        """Seal the credentials into the row."""
        if not change:
            obj.tenant_id = current_tenant()
            obj.channel = form.adapter.slug
        seal_credentials(vault(), obj, form.cleaned_data["credentials"])
        origins = form.cleaned_data["credentials"].get("allowed_origins")
        if isinstance(origins, str):
            obj.allowed_origins = origins.split()
        if change and "status" in form.changed_data and obj.status == ConnectionStatus.ACTIVE:
            obj.status_detail = ""
        super().save_model(request, obj, form, change)
        kind = "connection.changed" if change else "connection.created"
        note(obj.tenant_id, kind, data={"by": request.user.get_username()}, connection_id=obj.id)
        before, after = form.audited()
        record(obj.tenant_id, kind, actor=Actor.of(request.user), subject=obj, before=before, after=after)

    def delete_model(self, request: HttpRequest, obj: Connection) -> None:
        """With an entry in the trail."""
        record(obj.tenant_id, "connection.deleted", actor=Actor.of(request.user), subject=obj)
        super().delete_model(request, obj)

    def response_add(self, request: HttpRequest, obj: Connection, post_url_continue: str | None = None) -> HttpResponse:
        """To its own page: the webhook address, the next steps and the test are there."""
        super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(reverse("admin:hub_connection_change", args=[obj.id]))

    @display(description=_("channel"))
    def shown_channel(self, obj: Connection) -> str:
        """The channel's name."""
        adapter = _adapter(obj.channel)
        return channel_name(adapter) if adapter else obj.channel

    @display(description=_("status"))
    def shown_status(self, obj: Connection) -> SafeString:
        """The status, coloured."""
        tone, word = CONNECTION_STATUS.get(obj.status, ("info", obj.status))
        return badge(tone, word)

    @display(description=_("agent"))
    def agent(self, obj: Any) -> SafeString | str:
        """The agent that answers."""
        return link("agents_agent", obj.agent_id, getattr(obj, "agent_name", ""))

    @display(description=_("last message"))
    def last_heard(self, obj: Connection) -> SafeString | str:
        """When the platform last said something."""
        return moment(obj.last_event_at)

    @display(description=_("messages in 24 hours"))
    def busy(self, obj: Any) -> SafeString | str:
        """Messages both ways, and what failed."""
        if not obj.day.failed:
            return f"{obj.day.messages:,}"
        failed = badge("bad", _("%(count)d failed") % {"count": obj.day.failed})
        return format_html("{} {}", failed, f"{obj.day.messages:,}")

    @display(description=_("webhook address"))
    def webhook(self, obj: Connection) -> SafeString | str:
        """What the platform must call; nothing for channels that the hub serves itself."""
        adapter = _adapter(obj.channel)
        address = _address(obj, adapter) if adapter else ""
        return copyable(address) if address else DASH


def channel_name(kind: AdapterType) -> str:
    """What a channel is called in the reader's language."""
    return str(CHANNELS.get(kind.slug, kind.name))


def _stored(request: HttpRequest, row: Connection) -> dict[str, Any] | None:
    """The credentials, or None with a word to the operator where the hub's keys do not open them."""
    try:
        return open_credentials(vault(), row)
    except (KeyUnavailable, Tampered):
        text = _(
            "The stored credentials cannot be opened with the hub's keys. Enter them again, or bring back the key."
        )
        messages.error(request, text)
        return None


def _adapter(slug: str) -> AdapterType | None:
    try:
        return adapter_type(slug)
    except ChannelUnknown:
        return None


def _chosen(request: HttpRequest) -> AdapterType | None:
    return _adapter(request.GET.get("channel", ""))


def _offered(kind: AdapterType) -> dict[str, Any]:
    # As values: a template would call the class itself.
    own, machine = kind.capabilities.pull, kind.capabilities.machine
    return {"slug": kind.slug, "name": channel_name(kind), "docs_url": kind.docs_url, "own": own, "machine": machine}


def _address(row: Connection, kind: AdapterType) -> str:
    return "" if kind.capabilities.pull else f"{settings.HUB_PUBLIC_URL}{row.webhook_path}"


def _chat_address(row: Connection, kind: AdapterType) -> str:
    if not kind.capabilities.pull or kind.capabilities.machine:
        return ""
    return f"{settings.HUB_PUBLIC_URL}{reverse('chat-of', args=[row.public_id])}"


def _snippet(row: Connection) -> str:
    """The line that brings the chat onto a page."""
    return (
        f'<script src="{settings.HUB_PUBLIC_URL}{reverse("widget")}" data-connection="{row.public_id}" defer></script>'
    )


def _key(row: Connection) -> str:
    return f"asked-{row.id}"


site.register(Connection, ConnectionAdmin)
