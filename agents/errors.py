"""What can go wrong when an agent works. Details are for operators; a person only ever sees a polite default."""

from typing import Literal

FaultKind = Literal[
    "rate_limited",
    "overloaded",
    "timeout",
    "auth",
    "bad_request",
    "context_overflow",
    "content",
    "broken_stream",
    "unavailable",
]


class AgentError(Exception):
    """The root of this package's errors."""


class ProviderError(AgentError):
    """A model call failed. `detail` may quote the provider and must never reach a person."""

    def __init__(self, kind: FaultKind, detail: str = "", *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(f"{kind} ({status}): {detail}" if status else f"{kind}: {detail}")
        self.kind: FaultKind = kind
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        """Seconds that the provider asked us to wait."""


class NoRouteAnswered(AgentError):
    """Every route of the chain failed; `faults` says how, in the order of the attempts."""

    def __init__(self, faults: list[tuple[str, ProviderError]]) -> None:
        super().__init__("; ".join(f"{model}: {fault}" for model, fault in faults) or "no route")
        self.faults = faults


class GraphInvalid(AgentError):
    """A workflow graph cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__(f"workflow {name!r}: " + "; ".join(problems))
        self.problems = problems


class StepFailed(AgentError):
    """A node failed. `position` is where a later run resumes: at this node, finished branches kept."""

    def __init__(self, node: str, position: object) -> None:
        super().__init__(f"node {node!r} failed")
        self.node = node
        self.position = position


class AgentUnfit(AgentError):
    """An agent's settings name a workflow or a tool that this hub does not have."""


class AgentUnknown(AgentError):
    """No such agent in this tenant."""
