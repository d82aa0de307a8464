"""A connection's form: the row's own fields and what the channel's adapter asks for."""

from typing import Any, Final

from django import forms
from pydantic import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget

from agents.models import Agent
from channels_adapters.base import Credentials
from channels_adapters.registry import AdapterType
from hub.audited import HIDDEN
from hub.console.base import Form, _, capitalise
from hub.console.pydantic_fields import PREFIX, collect, errors_by_field, form_fields, is_secret
from hub.models import Connection

ADVANCED: Final = tuple(Credentials.model_fields)
"""What every channel has and hardly anybody changes."""


class ConnectionForm(Form):
    """The row's own fields; the channel's are added by `form_for`."""

    adapter: AdapterType | None = None
    stored: dict[str, Any] = {}
    agent_id = forms.TypedChoiceField(label=_("agent"), widget=UnfoldAdminSelectWidget)

    class Meta:
        model = Connection
        fields = ("name", "agent_id", "status", "burst", "debounce_ms", "on_unknown", "delivery_window")
        help_texts = {
            "burst": _("What becomes of several messages that wait while an answer is written."),
            "debounce_ms": _("How long more messages are waited for before an answer begins; 0: not at all."),
            "on_unknown": _("Where the platform gave no word whether a part arrived."),
            "delivery_window": _("How long a part is tried before it is a dead letter; empty: as the channel has it."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        capitalise(self)
        if "agent_id" in self.fields:
            agents = Agent.objects.order_by("name").values_list("id", "name")[:500]
            self.fields["agent_id"].choices = list(agents)  # type: ignore[attr-defined]
        if self.instance._state.adding and self.adapter is not None:
            self.initial.setdefault("name", self.adapter.name)

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

    def audited(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was changed, from what to what; of secrets only that they were."""
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for name in self.changed_data:
            plain = name.removeprefix(PREFIX)
            old, new = self.initial.get(name, self.fields[name].initial), self.cleaned_data.get(name)
            if name.startswith(PREFIX) and self._is_secret(plain):
                old, new = HIDDEN if old else "", HIDDEN if new else ""
            elif name == "agent_id":
                plain, old, new = "agent", self._agent_name(old), self._agent_name(new)
            if old != new or old == HIDDEN:
                before[plain], after[plain] = _without_query(old), _without_query(new)
        return before, after

    def _agent_name(self, ident: Any) -> str:
        names = {str(key): str(name) for key, name in self.fields["agent_id"].choices}  # type: ignore[attr-defined]
        return names.get(str(ident), "")

    def _is_secret(self, name: str) -> bool:
        return self.adapter is not None and is_secret(self.adapter.credentials_type.model_fields[name])


def _without_query(value: Any) -> Any:
    """Addresses sometimes carry a secret behind their question mark."""
    return f"{value.partition('?')[0]}?…" if isinstance(value, str) and "?" in value else value


def form_for(adapter: AdapterType, stored: dict[str, Any]) -> type[ConnectionForm]:
    """The form of one channel."""
    fields = form_fields(adapter.credentials_type, stored)
    return type("ChannelForm", (ConnectionForm,), {**fields, "adapter": adapter, "stored": stored})


def own_fields(adapter: AdapterType) -> tuple[list[str], list[str]]:
    """The channel's own fields, and those that every channel has."""
    names = list(adapter.credentials_type.model_fields)
    own = [f"{PREFIX}{name}" for name in names if name not in ADVANCED]
    return own, [f"{PREFIX}{name}" for name in names if name in ADVANCED]
