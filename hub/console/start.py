"""The guided start: connect a model, name the agent, try the chat, add a channel. Each step does what it says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from agents.models import Agent
from agents.providers import OPENAI
from agents.types import ModelRoute
from channels_adapters.registry import adapters
from hub.configured import default_route
from hub.console import tenancy
from hub.console.asking import Asked, ask_model
from hub.console.formats import duration
from hub.console.start_forms import ADDRESSES, AgentStep, ModelStep
from hub.console.words import CHANNELS
from hub.models import Connection, Turn, TurnKind
from hub.pipeline.connections import seal_credentials
from hub.pipeline.reading import load, route_keys, vault
from tenants.audit import Actor, record
from tenants.context import current_tenant
from tenants.members import Rank, Seat
from tenants.models import Tenant

AWAY: Final = "away"
"""The mark of a start that was put away."""
FIRST_AGENT: Final = "assistant"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, what it brings, and whether it is done."""

    key: str
    title: str | Promise
    text: str | Promise
    icon: str
    done: bool = False


STEPS: Final = (
    Step(
        "model",
        gettext_lazy("Connect a model"),
        gettext_lazy("Who thinks: any model that speaks OpenAI's protocol."),
        "neurology",
    ),
    Step(
        "agent", gettext_lazy("Name the agent"), gettext_lazy("How it is called and how it should answer."), "smart_toy"
    ),
    Step("chat", gettext_lazy("Try the chat"), gettext_lazy("Open the chat page and say hello."), "chat_bubble"),
    Step("channel", gettext_lazy("Add a channel"), gettext_lazy("Meet people where they write."), "hub"),
)


def guide(seat: Seat) -> Sequence[Step]:
    """The steps of the seat's tenant; none where all is done, it was put away, or the user may not set anything up."""
    if not seat.may(Rank.OPERATOR):
        return ()
    marks = _marks()
    if AWAY in marks:
        return ()
    steps = _steps(marks)
    return () if all(step.done for step in steps) else steps


def _marks() -> Mapping[str, str]:
    found: Mapping[str, str] | None = Tenant.objects.filter(id=current_tenant()).values_list("start", flat=True).first()
    return found or {}


def _steps(marks: Mapping[str, str]) -> list[Step]:
    """With what the rows themselves show: a model set elsewhere is as good as one set here."""
    done = dict.fromkeys(marks, True)
    if "model" not in done:
        done["model"] = bool(default_route(settings.HUB_ENV)) or Agent.objects.exclude(routes=[]).exists()
    if "channel" not in done:
        done["channel"] = Connection.objects.filter(channel__in=pushed_channels()).exists()
    return [Step(one.key, one.title, one.text, one.icon, done=done.get(one.key, False)) for one in STEPS]


def pushed_channels() -> list[str]:
    """The channels of other people's platforms, as opposed to the hub's own doors."""
    return [slug for slug, kind in adapters().items() if not kind.capabilities.pull]


def chat_channels() -> list[str]:
    """The hub's own doors for people."""
    return [slug for slug, kind in adapters().items() if kind.capabilities.pull and not kind.capabilities.machine]


@require_http_methods(["GET", "POST"])
def start(request: HttpRequest, key: str = "") -> HttpResponse:
    """A step's page, or the first one that is not done."""
    seat = tenancy.seat(request)
    if seat is None or not seat.may(Rank.OPERATOR):
        raise PermissionDenied
    steps = _steps(_marks())
    if not key:
        key = next((step.key for step in steps if not step.done), "")
        return HttpResponseRedirect(reverse("admin:start-step", args=[key]) if key else reverse("admin:index"))
    views: dict[str, Callable[[HttpRequest], HttpResponse | dict[str, Any]]]
    views = {"model": _model, "agent": _agent, "chat": _chat, "channel": _channel, AWAY: _put_away}
    if key not in views:
        raise Http404
    answer = views[key](request)
    if isinstance(answer, HttpResponse):
        return answer
    return _page(request, key, steps, answer)


def _page(request: HttpRequest, key: str, steps: Sequence[Step], values: dict[str, Any]) -> HttpResponse:
    from hub.console.site import site  # the site's index shows the guide

    step = next(one for one in steps if one.key == key)
    place = [one.key for one in steps].index(key)
    context = {
        **site.each_context(request),
        "title": _("Get started"),
        "steps": steps,
        "step": step,
        "number": place + 1,
        "before": steps[place - 1] if place else None,
        "after": steps[place + 1] if place + 1 < len(steps) else None,
        **values,
    }
    return TemplateResponse(request, f"console/start/{key}.html", context)


def mark(key: str) -> None:
    """Note that a step was taken."""
    row = Tenant.objects.only("start").get(id=current_tenant())
    marks = {**(row.start or {}), key: datetime.now(UTC).isoformat(timespec="seconds")}
    Tenant.objects.filter(id=current_tenant()).update(start=marks)


def _onward(key: str) -> HttpResponse:
    mark(key)
    keys = [step.key for step in STEPS]
    after = keys[keys.index(key) + 1 :]
    return HttpResponseRedirect(reverse("admin:start-step", args=[after[0]]) if after else reverse("admin:index"))


def _put_away(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        raise Http404
    mark(AWAY)
    return HttpResponseRedirect(reverse("admin:index"))


def _first_agent() -> Agent:
    """The agent that the guide sets up: the oldest, or a new one that is not saved yet."""
    found: Agent | None = Agent.objects.order_by("id").first()
    prompt = _(
        "You are a friendly assistant. Answer briefly, in the language of the person; say so when you do not know."
    )
    return found or Agent(tenant_id=current_tenant(), name=FIRST_AGENT, prompt=prompt)


def _model(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    agent = _first_agent()
    form = ModelStep(request.POST or None, agent=agent)
    if request.method != "POST":
        return {"form": form, "known": ADDRESSES, "default": default_route(settings.HUB_ENV)}
    action = request.POST.get("action")
    if action == "skip":
        return _onward("model")
    if not form.is_valid():
        return {"form": form, "known": ADDRESSES}
    asked = ask_model(form.route())
    if (action == "save" and asked.ok) or action == "anyway":
        _keep_route(request, agent, form.route())
        return _onward("model")
    times = {"first": duration(asked.first_ms / 1000), "whole": duration(asked.whole_ms / 1000)}
    return {"form": form, "known": ADDRESSES, "asked": asked, **times}


def _keep_route(request: HttpRequest, agent: Agent, route: ModelRoute) -> None:
    """The first route of the agent; further routes and settings stay."""
    before = (agent.routes or [{}])[0].get("model", "") if agent.routes else ""
    load(agent.tenant_id)
    keys = route_keys(agent) if agent.credentials else []
    kept = dict(agent.routes[0]) if agent.routes else {}
    first = {**kept, "provider": OPENAI, "base_url": route.base_url, "model": route.model}
    agent.routes = [first, *agent.routes[1:]]
    agent.seal_keys(vault(), [route.api_key, *keys[1:]])
    agent.save()
    _record(request, agent, {"model": before}, {"model": route.model, "base_url": route.base_url})


def _record(request: HttpRequest, agent: Agent, before: dict[str, Any], after: dict[str, Any]) -> None:
    actor = Actor.of(request.user)
    record(agent.tenant_id, "agent.changed", actor=actor, subject=agent, before=before, after=after)


def _agent(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    agent = _first_agent()
    before = {"name": agent.name, "prompt": agent.prompt, "language": agent.language}
    form = AgentStep(request.POST or None, instance=agent)
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        after = {name: getattr(saved, name) for name in before if before[name] != getattr(saved, name)}
        _record(request, saved, {name: before[name] for name in after}, after)
        return _onward("agent")
    return {"form": form}


def _chat(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    agent = _first_agent()
    row = Connection.objects.filter(channel__in=chat_channels()).defer("secrets").order_by("id").first()
    if request.method == "POST" and request.POST.get("action") == "make" and row is None and not agent._state.adding:
        row = _make_chat(agent)
    elif request.method == "POST" and request.POST.get("action") == "done":
        return _onward("chat")
    turn = _last_turn(row) if row is not None else None
    if turn is not None and turn.finished_at is not None:
        mark("chat")
    address = f"{settings.HUB_PUBLIC_URL}/chat/{row.public_id}" if row is not None else ""
    lasted = duration((turn.finished_at - turn.created).total_seconds()) if turn and turn.finished_at else ""
    local = reverse("chat-of", args=[row.public_id]) if row is not None else ""
    if request.GET.get("part") == "answer":
        return TemplateResponse(request, "console/start/answered.html", {"turn": turn, "lasted": lasted})
    return {"row": row, "address": address, "local": local, "turn": turn, "lasted": lasted, "agent": agent}


def _make_chat(agent: Agent) -> Connection:
    row = Connection(tenant_id=current_tenant(), channel=chat_channels()[0], name=_("Chat page"), agent_id=agent.id)
    seal_credentials(vault(), row, {})
    row.save(force_insert=True)
    return row


def _last_turn(row: Connection) -> Turn | None:
    """The newest answer of a connection, found among the tenant's newest turns, which an index bounds."""
    newest = list(Turn.objects.order_by("-created").values_list("id", flat=True)[:200])
    turns = Turn.objects.filter(id__in=newest, kind=TurnKind.REPLY, session__connection_id=row.id)
    found: Turn | None = turns.defer("partial", "trace").order_by("-created").first()
    return found


def _channel(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    if request.method == "POST":
        return _onward("channel")
    rows = Connection.objects.filter(channel__in=pushed_channels()).defer("secrets").order_by("-id")[:5]
    kinds = [{"slug": slug, "name": str(CHANNELS.get(slug, adapters()[slug].name))} for slug in pushed_channels()]
    return {"rows": rows, "channels": kinds}


__all__ = ["Asked", "Step", "guide", "mark", "start"]
