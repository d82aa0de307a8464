"""The five ledgers of a run, and whether they agree: nothing lost, nothing twice, nothing out of order.

Driver (what was acknowledged), inbox, turns, deliveries, what the platform saw; with the model server's log and what
web clients received. `check` is pure, so that planted faults prove that it sees them.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

FINAL = ("finished", "stopped", "failed", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """An inbox row; `key` is the platform's id of the message."""

    session: str
    conversation: str
    seq: int
    key: str
    status: str
    reason: str = ""
    turn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnd:
    """A turn as it stands."""

    id: str
    session: str
    kind: str
    status: str
    first: int
    last: int
    fence: int
    attempts: int
    error: str = ""
    model_runs: int = 0
    """Usage rows of model calls."""
    model: str = "scripted"
    """Empty where the turn needed none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A stored reply."""

    session: str
    seq: int
    turn: str | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A delivery row."""

    id: str
    session: str
    turn: str
    position: int
    part: int
    status: str
    attempts: int
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the platform saw, in the order in which it did."""

    delivery: str
    conversation: str
    answers: Sequence[str]
    part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A session's queue columns after the run."""

    id: str
    conversation: str
    fence: int
    last_seq: int
    turn: str | None = None
    leased: bool = False
    due: int = 0
    unsettled: int = 0


@dataclass(slots=True, kw_only=True)
class Ledgers:
    """Everything that was written down."""

    acked: Sequence[tuple[str, str]] = ()
    """(conversation, key) in the order of acknowledgement."""
    tried: Iterable[str] = ()
    ordered: bool = True
    """Conversations waited for each acknowledgement, so acceptance must follow it."""
    inbox: Sequence[Inbound] = ()
    turns: Sequence[TurnEnd] = ()
    answers: Sequence[Answer] = ()
    deliveries: Sequence[Sent] = ()
    shown: Sequence[Shown] = ()
    pushes: bool = True
    """False for pull channels, where nothing is delivered."""
    may_repeat: int = 0
    """Duplicates that a channel without idempotent sends may show: after-effect faults that were injected."""
    places: Sequence[Place] = ()
    running: int = 0
    reserved: int = 0
    model_calls: int | None = None
    web: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    """Per web client of a session: (seq, text) of stored messages as received."""
    grown: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    """Per web client: (seq, text) that had grown on its screen when the stored answer came."""
    leftovers: Sequence[str] = ()
    """Open transactions, zombies and the like, found by the caller."""


@dataclass(slots=True)
class Report:
    """What was counted, and each violation under its invariant's name."""

    counts: dict[str, int] = field(default_factory=dict)
    violations: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not any(self.violations.values())

    def blame(self, name: str, what: str) -> None:
        self.violations.setdefault(name, []).append(what)

    def json(self) -> str:
        shown = {
            name: [*found[:5], *([f"… {len(found)} in all"] if len(found) > 5 else [])]
            for name, found in self.violations.items()
        }
        return json.dumps({**asdict(self), "violations": shown, "clean": self.clean}, ensure_ascii=False)


def check(ledgers: Ledgers) -> Report:
    """Compare the ledgers by the invariants I1-I8 and I10 of the reliability study."""
    report = Report()
    for rule in (_kept, _ended, _covered, _delivered, _ordered, _received, _fenced, _accounted, _rests):
        rule(ledgers, report)
    report.counts |= {
        "acked": len(ledgers.acked),
        "inbox": len(ledgers.inbox),
        "turns": len(ledgers.turns),
        "retaken": sum(turn.attempts > 1 for turn in ledgers.turns),
        "answers": len(ledgers.answers),
        "deliveries": len(ledgers.deliveries),
        "unknown": sum(row.status == "unknown" for row in ledgers.deliveries),
        "dead": sum(row.status == "dead" for row in ledgers.deliveries),
        "seen": len({row.delivery for row in ledgers.shown}),
        "repeated_sends": len(ledgers.shown) - len({row.delivery for row in ledgers.shown}),
        "model_calls": ledgers.model_calls or 0,
    }
    return report


def _kept(ledgers: Ledgers, report: Report) -> None:
    stored = Counter((row.conversation, row.key) for row in ledgers.inbox)
    for place in dict.fromkeys(ledgers.acked):
        if place not in stored:
            report.blame("I1", f"acknowledged but not stored: {place[1]}")
    for (_, key), count in stored.items():
        if count > 1:
            report.blame("I1", f"stored {count} times: {key}")
    invented = {key for _, key in stored} - set(ledgers.tried) - {key for _, key in ledgers.acked}
    for key in sorted(invented):
        report.blame("I1", f"stored but never sent: {key}")


def _ended(ledgers: Ledgers, report: Report) -> None:
    turns = {turn.id: turn for turn in ledgers.turns}
    for row in ledgers.inbox:
        if row.status == "accepted":
            turn = turns.get(row.turn or "")
            if turn is None or turn.status not in FINAL:
                report.blame("I2", f"not answered: {row.key} ({turn.status if turn else 'no turn'})")
            elif turn.status == "dead" and not turn.error:
                report.blame("I2", f"dead without a reason: {row.key}")
        elif row.status == "refused" and not row.reason:
            report.blame("I2", f"refused without a reason: {row.key}")
        elif row.status not in ("accepted", "noted", "refused"):
            report.blame("I2", f"no end: {row.key} is {row.status}")


def _covered(ledgers: Ledgers, report: Report) -> None:
    replies = Counter(answer.turn for answer in ledgers.answers)
    turns = {turn.id: turn for turn in ledgers.turns}
    owned = Counter(row.turn for row in ledgers.inbox if row.status == "accepted")
    for turn in ledgers.turns:
        if turn.status in FINAL and replies[turn.id] != 1:
            report.blame("I3", f"turn {turn.id} has {replies[turn.id]} final replies")
        if turn.kind == "reply" and turn.status in FINAL and not owned[turn.id]:
            report.blame("I3", f"turn {turn.id} answers nothing")
    for row in ledgers.inbox:
        found = turns.get(row.turn or "")
        if row.status == "accepted" and found is not None and not found.first <= row.seq <= found.last:
            report.blame("I3", f"{row.key} (seq {row.seq}) lies outside its turn {found.first}-{found.last}")
    for answer in ledgers.answers:
        if answer.turn not in turns:
            report.blame("I3", f"a reply (seq {answer.seq}) of no turn")


def _delivered(ledgers: Ledgers, report: Report) -> None:
    if not ledgers.pushes:
        return
    seen = {row.delivery for row in ledgers.shown}
    rows = {row.id: row for row in ledgers.deliveries}
    for row in ledgers.deliveries:
        if row.status == "sent" and row.id not in seen:
            report.blame("I4", f"called sent but never seen: {row.id}")
    for name in sorted(seen - set(rows)):
        report.blame("I4", f"seen, but there is no delivery: {name}")
    parts = Counter((row.turn, row.part) for row in ledgers.deliveries)
    for (turn, part), count in parts.items():
        if count > 1:
            report.blame("I4", f"{count} deliveries of part {part} of turn {turn}")
    final = {turn.id for turn in ledgers.turns if turn.status in FINAL}
    without = final - {row.turn for row in ledgers.deliveries}
    for turn in sorted(without):
        report.blame("I4", f"turn {turn} has no delivery")
    ends: dict[str, set[str]] = defaultdict(set)
    for row in ledgers.deliveries:
        ends[row.turn].add(row.status)
    told: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for shown in ledgers.shown:
        for key in shown.answers:
            told[(shown.conversation, key, shown.part)].add(shown.delivery)
    twice = [place for place, deliveries in told.items() if len(deliveries) > 1]
    if len(twice) > ledgers.may_repeat:
        for place in twice:
            report.blame("I4", f"answered {len(told[place])} times: {place[1]}")
    for said in ledgers.inbox:
        if said.status == "accepted" and (said.conversation, said.key, 0) not in told and _was_due(said, ends):
            report.blame("I4", f"no answer was seen: {said.key}")


def _was_due(row: Inbound, ends: Mapping[str, set[str]]) -> bool:
    """Whether the row's answer was not given up visibly."""
    return not ends.get(row.turn or "", set()) & {"dead", "skipped", "unknown"}


def _ordered(ledgers: Ledgers, report: Report) -> None:
    by_session: dict[str, list[Inbound]] = defaultdict(list)
    for row in ledgers.inbox:
        by_session[row.session].append(row)
    if ledgers.ordered:
        seqs = {(row.conversation, row.key): row.seq for row in ledgers.inbox}
        last: dict[str, int] = {}
        for place in dict.fromkeys(ledgers.acked):
            seq = seqs.get(place)
            if seq is not None and seq < last.get(place[0], 0):
                report.blame("I5", f"accepted before its predecessor: {place[1]}")
            last[place[0]] = max(last.get(place[0], 0), seq or 0)
    firsts = {turn.id: turn.first for turn in ledgers.turns}
    replies: dict[str, list[Answer]] = defaultdict(list)
    for answer in sorted(ledgers.answers, key=lambda item: item.seq):
        replies[answer.session].append(answer)
    for session, found in replies.items():
        for one, other in pairwise(found):
            if firsts.get(one.turn or "", 0) > firsts.get(other.turn or "", 0):
                report.blame("I5", f"session {session}: reply {other.seq} answers earlier messages than {one.seq}")
    _seen_in_order(ledgers, report)
    for session, rows in by_session.items():
        if len({row.seq for row in rows}) < len(rows):
            report.blame("I5", f"session {session} gave one seq twice")


def _seen_in_order(ledgers: Ledgers, report: Report) -> None:
    positions = {row.id: (row.session, row.position) for row in ledgers.deliveries}
    last: dict[str, int] = {}
    for name in dict.fromkeys(row.delivery for row in ledgers.shown):
        session, position = positions.get(name, ("", 0))
        if position < last.get(session, 0):
            report.blame("I5", f"session {session}: place {position} was seen after place {last[session]}")
        last[session] = max(last.get(session, 0), position)


def _received(ledgers: Ledgers, report: Report) -> None:
    texts = {(answer.session, answer.seq): answer.text for answer in ledgers.answers}
    for client, messages in ledgers.web.items():
        session = client.split("/")[0]
        seqs = [seq for seq, _ in messages]
        if seqs != list(range(seqs[0], seqs[0] + len(seqs))) if seqs else False:
            report.blame("I6", f"{client} received {seqs}")
        for seq, text in messages:
            if (session, seq) in texts and texts[(session, seq)] != text:
                report.blame("I6", f"{client}: message {seq} differs from what is stored")
    for client, answers in ledgers.grown.items():
        session = client.split("/")[0]
        for seq, shown in answers:
            if not texts.get((session, seq), "").startswith(shown):  # a word lost, doubled, or of another attempt
                report.blame("I6", f"{client}: {shown[-60:]!r} had grown to message {seq}")


def _fenced(ledgers: Ledgers, report: Report) -> None:
    fences = {place.id: place.fence for place in ledgers.places}
    order = {answer.turn: answer.seq for answer in ledgers.answers}
    by_session: dict[str, list[TurnEnd]] = defaultdict(list)
    for turn in ledgers.turns:
        if turn.status in FINAL:
            by_session[turn.session].append(turn)
        if turn.fence > fences.get(turn.session, turn.fence):
            report.blame("I7", f"turn {turn.id} has fence {turn.fence}, its session {fences[turn.session]}")
    for session, turns in by_session.items():
        for one, other in pairwise(sorted(turns, key=lambda turn: order.get(turn.id, 0))):
            if one.fence >= other.fence:
                report.blame("I7", f"session {session}: fence {other.fence} committed after {one.fence}")


def _accounted(ledgers: Ledgers, report: Report) -> None:
    if ledgers.model_calls is None:
        return
    booked = sum(turn.model_runs for turn in ledgers.turns)
    if booked > ledgers.model_calls:
        report.blame("I8", f"{booked} model calls are booked, {ledgers.model_calls} were made")
    for turn in ledgers.turns:
        if turn.kind == "reply" and turn.status == "finished" and turn.model and not turn.model_runs:
            report.blame("I8", f"turn {turn.id} finished and nothing is booked for it")
    report.counts["wasted_model_calls"] = ledgers.model_calls - booked


def _rests(ledgers: Ledgers, report: Report) -> None:
    for place in ledgers.places:
        if place.turn or place.leased or place.due or place.unsettled:
            report.blame(
                "I10",
                f"session {place.id}: turn {place.turn}, leased {place.leased}, due {place.due},"
                f" unsettled {place.unsettled}",
            )
    if ledgers.running or ledgers.reserved:
        report.blame("I10", f"quota still counts {ledgers.running} turns and {ledgers.reserved} tokens")
    for turn in ledgers.turns:
        if turn.status not in FINAL:
            report.blame("I10", f"turn {turn.id} is {turn.status}")
    for left in ledgers.leftovers:
        report.blame("I10", left)
