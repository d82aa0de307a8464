"""A model that knows the lines of the pictures by heart."""

from collections.abc import Mapping
from typing import Any

import orjson

from tests.shots.words import SCRIPT
from tests.support.model_plans import Plan, text_of
from tests.support.model_server import ModelServer


class Speaker(ModelServer):
    """Answers by what was said; first offers what there is to tap."""

    def choose(self, body: Mapping[str, Any]) -> Plan:
        """The plan for this request."""
        messages = body.get("messages") or [{}]
        said = text_of(next((m.get("content") for m in reversed(messages) if m.get("role") == "user"), ""))
        known = next((line for line in SCRIPT if line in said), "")
        if not known:
            return super().choose(body)
        text, offers = SCRIPT[known]
        if offers and messages[-1].get("role") != "tool":
            return Plan(kind="tool", name="offer_replies", args=orjson.dumps({"replies": offers}).decode())
        return Plan(kind="text", text=text)
