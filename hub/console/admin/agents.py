"""Agents: prompt, where their model is asked (keys masked), tools and memory."""

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from typing import Any, Final
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from agents.calls import OFFLINE_ROUTE
from agents.models import Agent
from agents.providers import OFFLINE, OPENAI
from agents.tools import BUILT_IN
from agents.types import ModelRoute
from hub.audited import HIDDEN, agent_state, compared
from hub.configured import default_route
from hub.console.asking import Asked, ask_model
from hub.console.base import ConsoleAdmin, Form, Rank, _, capitalise, site
from hub.console.decorators import display
from hub.console.graph import workflow_graph
from hub.console.pydantic_fields import MASK
from hub.console.words import TOOLS
from hub.pipeline.operating import note
from hub.pipeline.reading import load, route_keys, vault
from hub.templatetags.turns import moment
from memory.types import Policy
from tenants.audit import Actor, record
from tenants.context import current_tenant

ROUTES: Final = 2
"""How many routes the form shows; an agent may have more, which it then keeps."""
PROVIDERS = (("", _("none: the hub's default")), (OPENAI, _("OpenAI-compatible")), (OFFLINE, _("offline")))
PARTS: Final = ("provider", "base_url", "model", "api_key", "temperature", "max_tokens")
GRANULARITY = (("brief", _("brief")), ("normal", _("normal")), ("detailed", _("detailed")))
POLICY: Final = tuple(field.name for field in dataclass_fields(Policy))
LABELS: Final = {
    "provider": _("provider"),
    "base_url": _("address"),
    "model": _("model"),
    "api_key": _("API key"),
    "temperature": _("temperature"),
    "max_tokens": _("most tokens of an answer"),
    "enabled": _("remember"),
    "rounds": _("rounds until a summary"),
    "tokens": _("tokens until a summary"),
    "keep_rounds": _("rounds kept after it"),
    "granularity": _("granularity"),
    "prompt": _("instruction for summaries"),
    "recall_limit": _("most memories per turn"),
    "recall_tokens": _("most tokens of memories"),
}
HELPS: Final = {
    "provider": _("Where the model is asked. The hub's default is the one that it was started with."),
    "model": _("Its name exactly as the provider writes it."),
    "base_url": _("Such as https://api.example.com/v1"),
    "api_key": _("Stored encrypted and never shown again. Empty where the server wants none."),
    "temperature": _("0 is sober, 2 is wild; empty: as the provider has it."),
    "max_tokens": _("Empty: as many as the provider allows."),
    "enabled": _("Whether anything is remembered beyond the conversation."),
    "rounds": _("So many questions and answers are summarised together."),
    "tokens": _("Or so many tokens, whatever comes first."),
    "keep_rounds": _("The newest stay word for word beside the summary."),
    "granularity": _("How much of what was said a summary keeps."),
    "prompt": _("What summaries should pay attention to, such as order numbers; empty: nothing special."),
}


def route_field(part: str) -> forms.Field:
    """One field of a model route."""
    common: dict[str, Any] = {"label": LABELS[part], "required": False, "help_text": HELPS.get(part, "")}
    if part == "provider":
        return forms.ChoiceField(**common, choices=PROVIDERS, widget=UnfoldAdminSelectWidget)
    if part == "api_key":
        widget = UnfoldAdminPasswordWidget(render_value=True, attrs={"autocomplete": "new-password"})
        return forms.CharField(**common, max_length=2000, widget=widget)
    if part == "temperature":
        return forms.FloatField(**common, min_value=0, max_value=2, widget=UnfoldAdminIntegerFieldWidget)
    if part == "max_tokens":
        return forms.IntegerField(**common, min_value=1, widget=UnfoldAdminIntegerFieldWidget)
    if part == "base_url":
        return forms.URLField(
            **common,
            max_length=500,
            assume_scheme="https",
            widget=UnfoldAdminTextInputWidget,
        )
    return forms.CharField(**common, max_length=200, widget=UnfoldAdminTextInputWidget)


def policy_field(name: str) -> forms.Field:
    """One memory setting, with the default as its start."""
    default = getattr(Policy(), name)
    words = {"label": LABELS.get(name, name), "help_text": HELPS.get(name, "")}
    common: dict[str, Any] = {**words, "required": False, "initial": default}
    if isinstance(default, bool):
        return forms.BooleanField(**common, widget=UnfoldBooleanSwitchWidget)
    if isinstance(default, int):
        return forms.IntegerField(**common, min_value=0, widget=UnfoldAdminIntegerFieldWidget)
    if name == "granularity":
        return forms.ChoiceField(**common, choices=GRANULARITY, widget=UnfoldAdminSelectWidget)
    return forms.CharField(**common, max_length=4000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


class AgentForm(Form):
    """The row's fields; routes and policy are added below the class."""

    tools = forms.MultipleChoiceField(
        label=_("tools"),
        required=False,
        choices=[(name, TOOLS.get(name, name)) for name in BUILT_IN],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    terms = forms.CharField(
        label=_("blocked terms"),
        required=False,
        max_length=8000,
        help_text=_("One per line."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )

    class Meta:
        model = Agent
        fields = ("name", "prompt", "language", "tools", "context_tokens")
        help_texts = {
            "name": _("As people see it; programs call it by this name, too."),
            "prompt": _("Who it is, what it helps with, in which tone, and what it must not do."),
            "language": _("In which it always answers, such as en, zh or de; empty: the person's own."),
            "context_tokens": _("What a model is given at most: instructions, memories and the conversation."),
        }
        widgets = {"prompt": UnfoldAdminTextareaWidget(attrs={"rows": 10})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)
        row: Agent = self.instance
        self.old_keys = [] if row._state.adding else route_keys(row)
        self.initial["terms"] = "\n".join(map(str, row.blocked_terms or ()))
        for number, route in enumerate((row.routes or [])[:ROUTES]):
            for part in PARTS:
                self.initial[f"route{number}_{part}"] = route.get(part)
            has_key = number < len(self.old_keys) and bool(self.old_keys[number])
            self.initial[f"route{number}_api_key"] = MASK if has_key else ""
        for name, value in (row.policy or {}).items():
            self.initial[f"policy_{name}"] = value

    def clean(self) -> dict[str, Any]:
        """Put routes, keys, policy and terms together again."""
        cleaned: dict[str, Any] = super().clean() or {}
        routes, self.new_keys = [], []
        for number in range(ROUTES):
            route, key = self._route(cleaned, number)
            if route is not None:
                routes.append(route)
                self.new_keys.append(key)
        row: Agent = self.instance
        row.routes = [*routes, *(row.routes or [])[ROUTES:]]
        self.new_keys += self.old_keys[ROUTES:]
        row.policy = _policy(cleaned)
        row.blocked_terms = [line.strip() for line in cleaned.get("terms", "").splitlines() if line.strip()]
        return cleaned

    def _route(self, cleaned: dict[str, Any], number: int) -> tuple[dict[str, Any] | None, str]:
        values = {part: cleaned.get(f"route{number}_{part}") for part in PARTS}
        if not values["provider"]:
            return None, ""
        if values["provider"] == OFFLINE:
            values["model"] = values["model"] or OFFLINE
        if not values["model"]:
            self.add_error(f"route{number}_model", _("A route needs a model."))
        key = values.pop("api_key") or ""
        if key == MASK:
            key = self.old_keys[number] if number < len(self.old_keys) else ""
        before = (self.instance.routes or [])[number] if number < len(self.instance.routes or []) else {}
        kept = {name: value for name, value in before.items() if name not in PARTS}
        return {**kept, **{name: value for name, value in values.items() if value not in (None, "")}}, key


for _number in range(ROUTES):
    for _part in PARTS:
        AgentForm.base_fields[f"route{_number}_{_part}"] = route_field(_part)
        AgentForm.declared_fields[f"route{_number}_{_part}"] = AgentForm.base_fields[f"route{_number}_{_part}"]
for _name in POLICY:
    AgentForm.base_fields[f"policy_{_name}"] = policy_field(_name)
    AgentForm.declared_fields[f"policy_{_name}"] = AgentForm.base_fields[f"policy_{_name}"]


class AgentAdmin(ConsoleAdmin):
    """Agents. Each save is a new version; turns that run keep theirs."""

    add_rank = change_rank = Rank.OPERATOR
    delete_rank = Rank.OWNER
    intro = _("An agent is a prompt and a model. Connections say which agent answers where.")
    list_display = ("name", "shown_model", "language", "version", "changed")
    list_defer = ("prompt",)
    ordering = ("name",)
    form = AgentForm

    def get_queryset(self, request: HttpRequest) -> Any:
        """The list shows the first route's model."""
        return (
            super().get_queryset(request).defer(None).defer("prompt", "credentials")
            if _list(request)
            else super().get_queryset(request)
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001
        """For those who only look, Django's own form: no key is even masked."""
        if not self._may(request, Rank.OPERATOR):
            kwargs["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Grouped for people who set an agent up."""
        if not self._may(request, Rank.OPERATOR):
            plain = ["name", "prompt", "language", "context_tokens", "shown_model", "tools", "policy", "version"]
            return ((None, {"fields": plain}),)
        route = [[f"route{number}_{part}" for part in PARTS] for number in range(ROUTES)]
        return (
            (None, {"fields": ["name", "prompt", "language", "context_tokens"]}),
            (_("Model"), {"fields": route[0]}),
            (_("Fall-back model"), {"fields": route[1], "classes": ["collapse"]}),
            (_("Memory"), {"fields": [f"policy_{name}" for name in POLICY], "classes": ["collapse"]}),
            (_("Tools and terms"), {"fields": ["tools", "terms"], "classes": ["collapse"]}),
        )

    def get_urls(self) -> list[URLPattern]:
        """With the live test of a route."""
        view = self.admin_site.admin_view(self.test_view)
        return [path("<uuid:object_id>/test/<int:number>/", view, name="agents_agent_test"), *super().get_urls()]

    def test_view(self, request: HttpRequest, object_id: UUID, number: int) -> HttpResponse:
        """Ask a route's model now, with what the form says; the answer is a piece of a page."""
        row = self.get_object(request, str(object_id))
        if row is None or request.method != "POST" or not self._may(request, Rank.OPERATOR):
            raise PermissionDenied
        route, problem = route_from(row, request.POST, number)
        asked = ask_model(route) if route is not None else Asked(ok=False, answer=problem)
        response = TemplateResponse(request, "console/tested.html", {"asked": asked, "route": route})
        response["Cache-Control"] = "no-store"
        return response

    readonly_fields = ("shown_model", "version")
    change_form_outer_after_template = "console/agent_extras.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With the workflow drawn."""
        row = self.get_object(request, object_id)
        context = {
            **(extra_context or {}),
            "subtitle": None,
            "graph": workflow_graph(row.workflow) if row is not None else "",
            "agent_tools": [(name, TOOLS.get(name, name)) for name in row.tools if name in BUILT_IN] if row else [],
            "may_test": self._may(request, Rank.OPERATOR),
        }
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:  # noqa: FBT001
        """Seal the keys with the row."""
        if not change:
            obj.tenant_id = current_tenant()
        load(obj.tenant_id)
        was = agent_state(Agent.objects.get(id=obj.id)) if change else {}
        obj.seal_keys(vault(), form.new_keys)
        super().save_model(request, obj, form, change)
        kind = "agent.changed" if change else "agent.created"
        note(obj.tenant_id, kind, data={"by": request.user.get_username(), "agent": str(obj.id)})
        before, after = compared(was, agent_state(obj))
        if form.new_keys != form.old_keys:
            after["api_key"] = HIDDEN
        record(obj.tenant_id, kind, actor=Actor.of(request.user), subject=obj, before=before, after=after)

    @display(description=_("changed"))
    def changed(self, obj: Agent) -> SafeString | str:
        """When its newest version was made."""
        return moment(obj.updated)

    def delete_model(self, request: HttpRequest, obj: Agent) -> None:
        """With an entry in the trail."""
        record(obj.tenant_id, "agent.deleted", actor=Actor.of(request.user), subject=obj)
        super().delete_model(request, obj)

    @display(description=_("model"))
    def shown_model(self, obj: Agent) -> Any:
        """The first route's model."""
        return obj.routes[0].get("model") if obj.routes else _("the hub's default")


def route_from(row: Agent, values: Mapping[str, str], number: int) -> tuple[ModelRoute | None, str]:
    """The route that a form describes, an empty first one being the hub's own; None with what is missing."""
    given = {part: values.get(f"route{number}_{part}", "").strip() for part in PARTS}
    if not given["provider"]:
        route = default_route(settings.HUB_ENV) if number == 0 else None
        return (route or OFFLINE_ROUTE, "") if number == 0 else (None, str(_("There is no fall-back model.")))
    keys = route_keys(row)
    key = given["api_key"]
    if key == MASK:
        key = keys[number] if number < len(keys) else ""
    model = given["model"] or (OFFLINE if given["provider"] == OFFLINE else "")
    if not model:
        return None, str(_("A route needs a model."))
    return ModelRoute(provider=given["provider"], model=model, base_url=given["base_url"], api_key=key), ""


def _policy(cleaned: dict[str, Any]) -> dict[str, Any]:
    values = {name: cleaned.get(f"policy_{name}") for name in POLICY}
    default = Policy()
    return {name: value for name, value in values.items() if value is not None and value != getattr(default, name)}


def _list(request: HttpRequest) -> bool:
    return request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")


site.register(Agent, AgentAdmin)
