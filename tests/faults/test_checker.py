"""The checker sees what is planted: loss, invention, duplicates, disorder, zombies. Without these it proves nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.ledgers import Answer, Inbound, Ledgers, Place, Sent, Shown, TurnEnd, check


def _good() -> Ledgers:
    """Two conversations of three messages, each answered once and in order."""
    found = Ledgers(model_calls=6)
    inbox, turns, answers, deliveries, shown, places, acked = [], [], [], [], [], [], []
    for name in ("a", "b"):
        for number in range(3):
            key, turn, delivery, seq = f"{name}-{number}", f"t{name}{number}", f"d{name}{number}", 2 * number + 1
            acked.append((name, key))
            inbox.append(Inbound(session=f"s{name}", conversation=name, seq=seq, key=key, status="accepted", turn=turn))
            turns.append(
                TurnEnd(
                    id=turn, session=f"s{name}", kind="reply", status="finished", first=seq, last=seq,
                    fence=number + 1, attempts=1, model_runs=1,
                )
            )  # fmt: skip
            answers.append(Answer(session=f"s{name}", seq=seq + 1, turn=turn, text=f"answer {key}"))
            deliveries.append(
                Sent(id=delivery, session=f"s{name}", turn=turn, position=number + 1, part=0, status="sent", attempts=1)
            )
            shown.append(Shown(delivery=delivery, conversation=name, answers=(key,)))
        places.append(Place(id=f"s{name}", conversation=name, fence=3, last_seq=6))
    found.acked, found.tried, found.inbox, found.turns, found.answers = (
        acked,
        [k for _, k in acked],
        inbox,
        turns,
        answers,
    )
    found.deliveries, found.shown, found.places = deliveries, shown, places
    found.web = {"sa/1": [(2, "answer a-0"), (3, "x"), (4, "answer a-1")]}
    found.grown = {"sa/1": [(2, "answer a-0"), (4, "answer")]}
    return found


def test_a_good_run_is_clean() -> None:
    report = check(_good())
    assert report.clean, report.json()
    assert report.counts["acked"] == 6


def _lose_message(found: Ledgers) -> None:
    found.inbox = found.inbox[1:]


def _store_twice(found: Ledgers) -> None:
    found.inbox = [*found.inbox, replace(found.inbox[0], seq=9)]


def _invent(found: Ledgers) -> None:
    found.inbox = [*found.inbox, replace(found.inbox[0], key="a-9", seq=9)]


def _never_answer(found: Ledgers) -> None:
    found.turns = [replace(found.turns[0], status="running"), *found.turns[1:]]


def _disown(found: Ledgers) -> None:
    found.inbox = [replace(found.inbox[0], turn=None), *found.inbox[1:]]


def _reply_twice(found: Ledgers) -> None:
    found.answers = [*found.answers, replace(found.answers[0], seq=8)]


def _reply_to_nobody(found: Ledgers) -> None:
    found.answers = [*found.answers, replace(found.answers[0], turn="t?", seq=8)]


def _forget_delivery(found: Ledgers) -> None:
    found.shown = found.shown[1:]


def _show_twice(found: Ledgers) -> None:
    copy = replace(found.deliveries[0], id="dx", position=9)
    found.deliveries = [*found.deliveries, copy]
    found.shown = [*found.shown, replace(found.shown[0], delivery="dx")]


def _show_invented(found: Ledgers) -> None:
    found.shown = [*found.shown, Shown(delivery="d?", conversation="a", answers=())]


def _show_out_of_order(found: Ledgers) -> None:
    found.shown = [found.shown[1], found.shown[0], *found.shown[2:]]


def _answer_out_of_order(found: Ledgers) -> None:
    one, other = found.answers[0], found.answers[1]
    found.answers = [replace(one, seq=other.seq), replace(other, seq=one.seq), *found.answers[2:]]


def _accept_out_of_order(found: Ledgers) -> None:
    found.acked = [found.acked[1], found.acked[0], *found.acked[2:]]


def _skip_for_a_client(found: Ledgers) -> None:
    found.web = {"sa/1": [(2, "answer a-0"), (4, "answer a-1")]}


def _splice_for_a_client(found: Ledgers) -> None:
    found.web = {"sa/1": [(2, "answer a-0answer a-0")]}


def _double_a_word_on_a_screen(found: Ledgers) -> None:
    found.grown = {"sa/1": [(2, "answer answer a-0")]}


def _commit_behind_the_fence(found: Ledgers) -> None:
    found.turns = [replace(found.turns[0], fence=3), *found.turns[1:]]


def _fence_of_the_future(found: Ledgers) -> None:
    found.turns = [*found.turns[:2], replace(found.turns[2], fence=7), *found.turns[3:]]


def _book_too_much(found: Ledgers) -> None:
    found.model_calls = 5


def _book_nothing(found: Ledgers) -> None:
    found.turns = [replace(found.turns[0], model_runs=0), *found.turns[1:]]


def _keep_lease(found: Ledgers) -> None:
    found.places = [replace(found.places[0], leased=True), *found.places[1:]]


def _keep_slot(found: Ledgers) -> None:
    found.running = 1


@pytest.mark.parametrize(
    ("plant", "invariant"),
    [
        (_lose_message, "I1"),
        (_store_twice, "I1"),
        (_invent, "I1"),
        (_never_answer, "I2"),
        (_disown, "I2"),
        (_reply_twice, "I3"),
        (_reply_to_nobody, "I3"),
        (_forget_delivery, "I4"),
        (_show_twice, "I4"),
        (_show_invented, "I4"),
        (_show_out_of_order, "I5"),
        (_answer_out_of_order, "I5"),
        (_accept_out_of_order, "I5"),
        (_skip_for_a_client, "I6"),
        (_splice_for_a_client, "I6"),
        (_double_a_word_on_a_screen, "I6"),
        (_commit_behind_the_fence, "I7"),
        (_fence_of_the_future, "I7"),
        (_book_too_much, "I8"),
        (_book_nothing, "I8"),
        (_keep_lease, "I10"),
        (_keep_slot, "I10"),
    ],
)
def test_what_is_planted_is_found(plant: Callable[[Ledgers], None], invariant: str) -> None:
    found = _good()
    plant(found)
    assert invariant in check(found).violations


def test_a_delivery_repeated_under_its_id_is_one_message() -> None:
    found = _good()
    found.shown = [*found.shown, found.shown[0]]
    report = check(found)
    assert report.counts["repeated_sends"] == 1
    assert "I4" not in report.violations


def test_an_after_effect_fault_may_show_one_message_twice() -> None:
    found = _good()
    found.may_repeat = 1
    found.shown = [*found.shown, replace(found.shown[-1], delivery="dx")]
    found.deliveries = [*found.deliveries, replace(found.deliveries[-1], id="dx", part=1, position=9)]
    assert check(found).clean
