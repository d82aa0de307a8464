"""The forms of the guided start."""

from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from agents.models import Agent
from agents.providers import OPENAI
from agents.types import ModelRoute
from hub.console.pydantic_fields import MASK
from hub.pipeline.reading import route_keys

ADDRESSES: Final = (
    ("OpenAI", "https://api.openai.com/v1"),
    ("DeepSeek", "https://api.deepseek.com/v1"),
    ("阿里云百炼 / Model Studio", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    ("OpenRouter", "https://openrouter.ai/api/v1"),
    ("Ollama", "http://127.0.0.1:11434/v1"),
    ("vLLM", "http://127.0.0.1:8001/v1"),
)
"""Offered while typing; each provider documents its own."""
LANGUAGES: Final = (("", _("the person's")), ("en", "English"), ("zh", "中文"))


class ModelStep(forms.Form):
    """Where a model is asked."""

    base_url = forms.URLField(
        label=_("Address"),
        max_length=500,
        assume_scheme="https",
        widget=UnfoldAdminTextInputWidget(
            attrs={"placeholder": "https://api.example.com/v1", "autocomplete": "off", "list": "known-addresses"}
        ),
        help_text=_("The base of the provider's API, usually ending in /v1."),
    )
    model = forms.CharField(
        label=_("Model"),
        max_length=120,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=_("Its name exactly as the provider writes it."),
    )
    api_key = forms.CharField(
        label=_("API key"),
        required=False,
        max_length=2000,
        widget=UnfoldAdminPasswordWidget(render_value=True, attrs={"autocomplete": "new-password"}),
        help_text=_("Stored encrypted. Empty where the server wants none."),
    )

    def __init__(self, *args: Any, agent: Agent, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first = agent.routes[0] if agent.routes else {}
        keys = route_keys(agent) if agent.credentials else []
        self._stored = keys[0] if keys else ""
        if first.get("provider") in (OPENAI, "openai_compatible"):
            self.initial = {
                "base_url": first.get("base_url", ""),
                "model": first.get("model", ""),
                "api_key": MASK if self._stored else "",
            }

    def route(self) -> ModelRoute:
        """The route that a valid form describes."""
        key = self.cleaned_data["api_key"]
        return ModelRoute(
            provider=OPENAI,
            base_url=self.cleaned_data["base_url"],
            model=self.cleaned_data["model"],
            api_key=self._stored if key == MASK else key,
        )


class AgentStep(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """What a person notices of an agent."""

    language = forms.ChoiceField(label=_("Language"), choices=LANGUAGES, required=False, widget=UnfoldAdminSelectWidget)

    class Meta:
        model = Agent
        fields = ("name", "prompt", "language")
        labels = {"name": _("Name"), "prompt": _("Instructions")}
        help_texts = {"prompt": _("Who it is, what it helps with, in which tone, and what it must not do.")}
        widgets = {
            "name": UnfoldAdminTextInputWidget(),
            "prompt": UnfoldAdminTextareaWidget(attrs={"rows": 8}),
        }
