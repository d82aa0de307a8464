"""An agent made ready: everything that is the same for all its turns, built once per version."""

import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.phrases import language_of
from agents.prompt import system_message
from agents.providers.base import Toolset
from agents.tools.base import Tool, toolset
from agents.types import AgentSpec, ChatMessage, ToolSchema, TurnInput
from agents.workflow import Workflow


@dataclass(slots=True)
class CompiledAgent:
    """An agent at one version. Shared by its turns, so nothing here belongs to any of them."""

    spec: AgentSpec
    workflow: Workflow
    system: ChatMessage
    tools: Toolset
    blocked: re.Pattern[str] | None
    built: float = field(default_factory=time.monotonic)
    faults: int = 0
    """Turns in a row that failed inside the workflow; a compiled agent with several is replaced."""

    def toolset_with(self, client: Sequence[ToolSchema]) -> Toolset:
        """The agent's tools and the client's. Ours win where a name is taken."""
        if not client:
            return self.tools
        own = {schema.name for schema in self.tools.schemas}
        extra = toolset([schema for schema in client if schema.name not in own])
        if not self.tools.wire or not extra.wire:
            return extra if extra.wire else self.tools
        return Toolset(schemas=(*self.tools.schemas, *extra.schemas), wire=self.tools.wire[:-1] + b"," + extra.wire[1:])


def compile_agent(spec: AgentSpec, workflows: Mapping[str, Workflow], tools: Mapping[str, Tool]) -> CompiledAgent:
    """Make an agent ready; KeyError names a workflow or tool that the hub does not have."""
    schemas = [tools[name].schema for name in spec.tools]
    return CompiledAgent(
        spec=spec,
        workflow=workflows[spec.workflow],
        system=system_message(spec.prompt, spec.language),
        tools=toolset(schemas),
        blocked=_blocked(spec.blocked_terms),
    )


def plain(text: str) -> str:
    """Text as blocked terms are compared: full-width forms and case do not hide a word."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _blocked(terms: Sequence[str]) -> re.Pattern[str] | None:
    """One pattern for all terms. A Latin term is a whole word; Chinese has no word ends, so those match anywhere."""
    patterns = []
    for term in sorted({plain(term).strip() for term in terms} - {""}, key=len, reverse=True):
        head = r"(?<![a-z0-9_])" if term[0].isascii() and term[0].isalnum() else ""
        tail = r"(?![a-z0-9_])" if term[-1].isascii() and term[-1].isalnum() else ""
        patterns.append(head + re.escape(term) + tail)
    return re.compile("|".join(patterns)) if patterns else None


def turn_language(turn: TurnInput, text: str) -> str:
    """The language to be polite in: the person's, the agent's, else by script."""
    return language_of(text, turn.language or turn.agent.language)
