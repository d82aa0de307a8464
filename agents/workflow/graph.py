"""Graphs as data: read, checked as a whole, and compiled. Everything that is wrong is reported at once.

    {"name": "standard", "start": "check",
     "nodes": {"check": "input_check", "core": "core", "tools": "tools", "dig": "dig", "look": "look"},
     "parallel": {"gather": {"branches": [{"name": "a", "nodes": ["dig"]},
                                          {"name": "b", "nodes": ["look"], "on_failure": "skip"}]}},
     "edges": [{"from": "check", "to": "end", "when": "blocked"},
               {"from": "check", "to": "gather"},
               {"from": "gather", "to": "core"},
               {"from": "core", "to": "tools", "when": "wants_tools", "at_most": 8},
               {"from": "tools", "to": "core"},
               {"from": "core", "to": "end"}]}

Edges are tried in order. A cycle must hold an edge with a bound (`at_most`); a used-up edge is passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.errors import GraphInvalid
from agents.workflow.engine import END, Branch, Condition, Edge, Node, Step, Workflow

MAX_STEPS = 200
MAX_BOUND = 1000


def load(data: Mapping[str, Any], nodes: Mapping[str, Node], conditions: Mapping[str, Condition]) -> Workflow:
    """Compile a graph against the functions it may name; raises `GraphInvalid` with every problem found."""
    reader = _Reader(data, nodes, conditions)
    steps = reader.steps()
    problems = reader.problems or _shape_problems(str(data.get("start")), steps)
    if problems:
        raise GraphInvalid(str(data.get("name", "")), problems)
    return Workflow(str(data["name"]), str(data["start"]), steps)


@dataclass(slots=True)
class _Reader:
    data: Mapping[str, Any]
    functions: Mapping[str, Node]
    conditions: Mapping[str, Condition]
    problems: list[str] = field(default_factory=list)

    def steps(self) -> dict[str, Step]:
        nodes, parallel = self._section("nodes"), self._section("parallel")
        for name in ("name", "start"):
            if not isinstance(self.data.get(name), str):
                self.problems.append(f"{name!r} is missing")
        self.problems += [f"unknown section {key!r}" for key in self.data if key not in _SECTIONS]
        self.problems += [f"{name!r} is a node and a group" for name in nodes if name in parallel]
        if END in nodes or END in parallel:
            self.problems.append(f"{END!r} is reserved")
        if len(nodes) + len(parallel) > MAX_STEPS:
            self.problems.append(f"more than {MAX_STEPS} steps")
        groups = {name: self._branches(name, group) for name, group in parallel.items()}
        inside = {node for branches in groups.values() for branch in branches for node, _ in branch.nodes}
        edges = self._edges({*nodes, *groups} - inside)
        steps = {
            name: Step(name, edges.get(name, ()), node=self._function(name, function))
            for name, function in nodes.items()
            if name not in inside
        }
        return steps | {name: Step(name, edges.get(name, ()), branches=found) for name, found in groups.items()}

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.data.get(name, {})
        if not isinstance(section, Mapping):
            self.problems.append(f"{name!r} must be a mapping")
            return {}
        return section

    def _function(self, name: str, function: object) -> Node:
        found = self.functions.get(str(function))
        if found is None:
            self.problems.append(f"node {name!r} names the unknown function {function!r}")
            return _missing
        return found

    def _branches(self, name: str, group: Any) -> Sequence[Branch]:
        branches: list[Branch] = []
        for entry in group.get("branches", ()) if isinstance(group, Mapping) else ():
            label, policy = str(entry.get("name", "")), entry.get("on_failure", "abort")
            if policy not in ("abort", "skip"):
                self.problems.append(f"branch {label!r} of {name!r}: on_failure is 'abort' or 'skip', not {policy!r}")
                policy = "abort"
            if not label or label in {branch.name for branch in branches}:
                self.problems.append(f"a branch of {name!r} has no name of its own")
            nodes = [(node, self._member(node, label)) for node in entry.get("nodes", ())]
            if not nodes:
                self.problems.append(f"branch {label!r} of {name!r} has no nodes")
            branches.append(Branch(label, tuple(nodes), policy))
        if len(branches) < 2:
            self.problems.append(f"group {name!r} needs at least two branches")
        return tuple(branches)

    def _member(self, node: str, branch: str) -> Node:
        function = self._section("nodes").get(node)
        if function is None:
            self.problems.append(f"branch {branch!r} names the unknown node {node!r}")
            return _missing
        return self._function(node, function)

    def _edges(self, known: set[str]) -> dict[str, tuple[Edge, ...]]:
        found: dict[str, list[Edge]] = {}
        for number, entry in enumerate(self.data.get("edges", ())):
            source, target, name = entry.get("from"), entry.get("to"), entry.get("when")
            label = f"edge {source!r} -> {target!r}"
            self.problems += [f"{label}: unknown step {end!r}" for end in (source, target) if end not in known | {END}]
            if name is not None and name not in self.conditions:
                self.problems.append(f"{label}: unknown condition {name!r}")
            bound = entry.get("at_most", 0)
            if not isinstance(bound, int) or not 0 <= bound <= MAX_BOUND:
                self.problems.append(f"{label}: at_most must be 1 to {MAX_BOUND}")
                bound = 1
            condition = self.conditions.get(name) if name is not None else None
            found.setdefault(str(source), []).append(Edge(str(target), condition, bound, f"{number}"))
        return {source: tuple(edges) for source, edges in found.items()}


_SECTIONS = ("name", "start", "nodes", "parallel", "edges")


async def _missing(_state: Any, _services: Any) -> None:
    raise RuntimeError("a graph with problems was run")


def _shape_problems(start: str, steps: Mapping[str, Step]) -> list[str]:
    """What only the whole graph shows: dead ends, dead steps, loops without a bound."""
    if start not in steps:
        return [f"start {start!r} is no step"]
    problems = []
    for step in steps.values():
        plain = [index for index, edge in enumerate(step.edges) if edge.when is None and not edge.at_most]
        if step.edges and not plain:
            problems.append(f"{step.name!r} has no unconditional way out")
        elif plain and plain[0] != len(step.edges) - 1:
            problems.append(f"edges of {step.name!r} after the unconditional one are never taken")
    reached, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name != END and name not in reached:
            reached.add(name)
            todo += [edge.to for edge in steps[name].edges]
    problems += [f"{name!r} cannot be reached" for name in steps if name not in reached]
    return problems + [f"a loop without a bound passes {name!r}" for name in _unbounded(steps)]


def _unbounded(steps: Mapping[str, Step]) -> list[str]:
    """Steps left over when every step without an unbounded way in is taken away again and again."""
    left = dict(steps)
    while True:
        targets = {edge.to for step in left.values() for edge in step.edges if not edge.at_most}
        free = [name for name in left if name not in targets]
        if not free:
            break
        for name in free:
            del left[name]
    while dead := [n for n, s in left.items() if not any(e.to in left for e in s.edges if not e.at_most)]:
        for name in dead:
            del left[name]
    return sorted(left)
