"""Form fields from a pydantic model: what an adapter's Credentials need becomes a form, secrets stay masked.

A secret that is set shows as a mask. Sent back unchanged, the mask means: keep what is stored; an emptied field means
no secret. The stored value never reaches the page.
"""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from django import forms
from django.utils.html import escape
from django.utils.text import capfirst
from django.utils.translation import gettext
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

MASK: Final = "••••••••"
PREFIX: Final = "option_"
LONG: Final = frozenset({"greeting", "suggestions", "prompt"})


def form_fields(model: type[BaseModel], stored: Mapping[str, Any]) -> dict[str, forms.Field]:
    """A form field for each field of `model`, named with `PREFIX`, filled from `stored`."""
    return {f"{PREFIX}{name}": _field(name, info, stored.get(name)) for name, info in model.model_fields.items()}


def collect(model: type[BaseModel], cleaned: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """What the form says, with masks replaced by what is stored and empty optional values left out."""
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        value = cleaned.get(f"{PREFIX}{name}")
        if is_secret(info) and value == MASK:
            value = stored.get(name)
        if value in (None, "") and not info.is_required():
            continue
        values[name] = value
    return values


def errors_by_field(error: ValidationError) -> dict[str, str]:
    """Form errors of a failed validation; what belongs to no field is under an empty name. Values are not repeated."""
    found: dict[str, str] = {}
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        found.setdefault(f"{PREFIX}{name}" if name else "", gettext(str(item["msg"]).removeprefix("Value error, ")))
    return found


def is_secret(info: FieldInfo) -> bool:
    """Whether the value must not be shown."""
    return _plain_type(info) is SecretStr


def described(info: FieldInfo) -> str:
    """What an adapter says of a field, in the reader's language where our catalogue has it."""
    text = " ".join((info.description or "").replace("`", "").split())
    return gettext(text) if text else ""


def _field(name: str, info: FieldInfo, stored: Any) -> forms.Field:
    kind = _plain_type(info)
    common: dict[str, Any] = {
        "label": capfirst(gettext(name.replace("_", " "))),
        "required": info.is_required(),
        "help_text": escape(described(info)),
        "initial": _initial(info, stored),
    }
    if kind is SecretStr:
        return forms.CharField(
            **common,
            max_length=16_000,
            widget=UnfoldAdminPasswordWidget(render_value=True, attrs={"autocomplete": "new-password"}),
        )
    if get_origin(kind) is Literal:
        values = [(value, gettext(str(value)) if value else "–") for value in get_args(kind)]
        return forms.ChoiceField(**common, choices=values, widget=UnfoldAdminSelectWidget)
    if kind is bool:
        return forms.BooleanField(**{**common, "required": False}, widget=UnfoldBooleanSwitchWidget)
    if kind in (int, float):
        number = forms.IntegerField if kind is int else forms.FloatField
        return number(**common, widget=UnfoldAdminIntegerFieldWidget)
    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3}) if name in LONG else UnfoldAdminTextInputWidget()
    return forms.CharField(**common, max_length=16_000, widget=widget)


def _initial(info: FieldInfo, stored: Any) -> Any:
    if is_secret(info):
        return MASK if stored else ""
    if stored is not None:
        return stored
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _plain_type(info: FieldInfo) -> Any:
    kind = info.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next((part for part in get_args(kind) if part is not type(None)), kind)
    return kind
