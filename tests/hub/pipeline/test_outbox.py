"""Deliveries: what follows from each way a send can end; messages that grow; ends that operators see."""

from typing import Any

import pytest

from hub.pipeline.live import from_row
from tests.support.model_plans import Plan
from tests.support.world import World


def _ends(world: World) -> list[str]:
    return [row[0] for row in world.rows("SELECT status FROM delivery ORDER BY position")]


async def _ended(world: World, *statuses: str) -> None:
    await world.until(lambda: _ends(world) == list(statuses), what=f"deliveries end as {statuses}")


async def test_a_refused_connection_is_tried_again(hub_runtime: World) -> None:
    fake = hub_runtime.fakes["webhook"]
    await fake.refuse()
    await hub_runtime.arrive("webhook", "hi", number=1)
    await _ended(hub_runtime, "retry")
    await fake.listen()
    hub_runtime.rows("UPDATE delivery SET due_at = now()")
    await _ended(hub_runtime, "sent")
    assert fake.shown("c1") == ["hi"]
    assert hub_runtime.value("SELECT unsettled FROM session") == 0


async def test_an_idempotent_channel_sends_again_and_shows_once(hub_runtime: World) -> None:
    fake: Any = hub_runtime.fakes["webhook"]
    fake.fail(drop="after", method="callback")
    await hub_runtime.arrive("webhook", "hi", number=1)
    await hub_runtime.until(lambda: _ends(hub_runtime) == ["retry"])
    hub_runtime.rows("UPDATE delivery SET due_at = now()")
    await _ended(hub_runtime, "sent")
    assert fake.repeats == 1
    assert fake.shown("c1") == ["hi"]


async def test_an_unknown_outcome_is_flagged_and_the_next_reply_goes_on(hub_runtime: World) -> None:
    fake = hub_runtime.fakes["telegram"]
    fake.fail(drop="after", method="sendMessage")
    await hub_runtime.arrive("telegram", "one", number=1)
    await _ended(hub_runtime, "unknown")
    await hub_runtime.arrive("telegram", "two", number=2)
    await _ended(hub_runtime, "unknown", "sent")
    assert [text.strip() for text in fake.shown("7")] == ["one", "two"]
    assert hub_runtime.rows("SELECT type FROM event") == [("delivery.unknown",)]


async def test_resend_once_is_once(hub_runtime: World) -> None:
    hub_runtime.rows("UPDATE connection SET on_unknown = 'resend_once'")
    hub_runtime.fakes["telegram"].fail(drop="before", method="sendMessage", times=3)
    await hub_runtime.arrive("telegram", "one", number=1)
    await hub_runtime.until(lambda: _ends(hub_runtime) == ["retry"])
    hub_runtime.rows("UPDATE delivery SET due_at = now()")
    await _ended(hub_runtime, "unknown")
    assert hub_runtime.rows("SELECT attempts FROM delivery") == [(2,)]


async def test_a_sender_that_vanishes_twice_resends_once(hub_runtime: World) -> None:
    """The first send's outcome nobody knows, nor the second's: a third would not be `once`."""
    hub_runtime.rows("UPDATE connection SET on_unknown = 'resend_once'")
    await hub_runtime.arrive("telegram", "one", number=1)
    await _ended(hub_runtime, "sent")
    fake = hub_runtime.fakes["telegram"]
    for shown, end in ((2, "sent"), (2, "unknown")):
        hub_runtime.rows("UPDATE delivery SET status = 'sending', due_at = now()")
        hub_runtime.rows("UPDATE session SET unsettled = 1")
        await _ended(hub_runtime, end)
        assert len(fake.shown("7")) == shown


async def test_what_the_platform_refuses_is_dead_and_seen(hub_runtime: World) -> None:
    fake: Any = hub_runtime.fakes["telegram"]
    fake.blocked.add("7")
    await hub_runtime.arrive("telegram", "one", number=1)
    await _ended(hub_runtime, "dead")
    assert hub_runtime.rows("SELECT type FROM event") == [("delivery.dead",)]


async def test_revoked_credentials_pause_the_connection(hub_runtime: World) -> None:
    fake: Any = hub_runtime.fakes["telegram"]
    fake.token = "changed"
    await hub_runtime.arrive("telegram", "one", number=1)
    await _ended(hub_runtime, "dead")
    await hub_runtime.until(
        lambda: hub_runtime.value("SELECT status FROM connection WHERE channel = 'telegram'") == "paused"
    )


async def test_too_late_is_dead(hub_runtime: World) -> None:
    fake = hub_runtime.fakes["webhook"]
    await fake.refuse()
    await hub_runtime.arrive("webhook", "hi", number=1)
    await _ended(hub_runtime, "retry")
    hub_runtime.rows("UPDATE delivery SET due_at = now(), expires_at = now()")
    await fake.listen()
    await _ended(hub_runtime, "dead")
    assert fake.shown("c1") == []


async def test_a_long_reply_comes_in_order(hub_runtime: World) -> None:
    hub_runtime.model.script(Plan(kind="text", text=" ".join(f"{number:05d}" for number in range(2000))))
    await hub_runtime.arrive("telegram", "tell me everything", number=1)
    await hub_runtime.quiet()
    shown = " ".join(hub_runtime.fakes["telegram"].shown("7"))
    assert shown.split() == [f"{number:05d}" for number in range(2000)]
    assert set(_ends(hub_runtime)) == {"sent"}
    assert len(_ends(hub_runtime)) > 1


async def test_an_unreadable_delivery_is_dead_and_holds_nobody_up(hub_runtime: World) -> None:
    fake = hub_runtime.fakes["webhook"]
    await fake.refuse()
    for place in ("c1", "c2"):
        await hub_runtime.arrive("webhook", "hi", number=ord(place[1]), conversation=place)
    await _until_all(hub_runtime, "retry")
    first = hub_runtime.value("SELECT id FROM delivery ORDER BY created LIMIT 1")
    hub_runtime.rows("UPDATE delivery SET part = 'garbage' WHERE id = %s", first)
    await fake.listen()
    hub_runtime.rows("UPDATE delivery SET due_at = now()")
    await hub_runtime.until(lambda: sorted(_ends(hub_runtime)) == ["dead", "sent"])
    await hub_runtime.quiet()


async def _until_all(world: World, status: str) -> None:
    await world.until(lambda: set(_ends(world)) == {status} and len(_ends(world)) == 2)


async def test_an_outcome_waits_for_the_database(hub_runtime: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    settles: Any = hub_runtime.runtime.outbox.settles
    submit, failures = settles.submit, 2

    async def away(row: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise psycopg.OperationalError("gone")
        return await submit(row)

    monkeypatch.setattr(settles, "submit", away)
    await hub_runtime.arrive("telegram", "one", number=1)
    await _ended(hub_runtime, "sent")
    assert len(hub_runtime.fakes["telegram"].shown("7")) == 1


# ---- messages that grow ---------------------------------------------------------------------------------------------


async def test_a_streamed_answer_is_one_message(hub_runtime: World) -> None:
    hub_runtime.model.script(Plan(chunks=60, delay=0.05))
    await hub_runtime.arrive("slack", "tell me", number=1, conversation="D1")
    fake = hub_runtime.fakes["slack"]
    await hub_runtime.until(lambda: fake.shown("D1"), what="the message begins to grow")
    assert hub_runtime.value("SELECT status FROM turn") == "running"
    await hub_runtime.quiet()
    [text] = fake.shown("D1")
    assert text.split() == [f"word{number}" for number in range(60)]
    assert _ends(hub_runtime) == ["sent"]


async def test_an_answer_that_ends_during_its_first_send_is_one_message(hub_runtime: World) -> None:
    fake = hub_runtime.fakes["slack"]
    fake.latency = 0.4
    hub_runtime.model.script(Plan(chunks=12, delay=0.02))
    await hub_runtime.arrive("slack", "tell me", number=1, conversation="D1")
    await hub_runtime.quiet()
    [text] = fake.shown("D1")
    assert text.split() == [f"word{number}" for number in range(12)]
    assert _ends(hub_runtime) == ["sent"]


async def test_a_first_send_that_fails_leaves_the_whole_answer(hub_runtime: World) -> None:
    fake = hub_runtime.fakes["slack"]
    fake.fail(status=503, method="chat.postMessage")
    hub_runtime.model.script(Plan(chunks=20, delay=0.05))
    await hub_runtime.arrive("slack", "tell me", number=1, conversation="D1")
    await hub_runtime.quiet()
    [text] = fake.shown("D1")
    assert text.split() == [f"word{number}" for number in range(20)]
    assert sorted(_ends(hub_runtime))[-1] == "sent"


@pytest.mark.parametrize("plan", [Plan(chunks=3), Plan(chunks=40), Plan(chunks=60, delay=0.05)])
async def test_a_take_over_goes_on_with_the_visible_message(hub_runtime: World, plan: Plan) -> None:
    hub_runtime.model.script(Plan(chunks=1000, delay=0.05), plan)
    await hub_runtime.arrive("slack", "tell me", number=1, conversation="D1")
    fake = hub_runtime.fakes["slack"]
    await hub_runtime.until(lambda: len("".join(fake.shown("D1"))) > 150, what="the message has grown")
    hub_runtime.rows("UPDATE session SET fence = fence + 1, lease_owner = NULL, due_at = now() - interval '1 s'")
    await hub_runtime.until(lambda: hub_runtime.value("SELECT status FROM turn") == "finished")
    await hub_runtime.quiet()
    [text] = fake.shown("D1")
    assert text.split() == [f"word{number}" for number in range(plan.chunks)]
    assert _ends(hub_runtime) == ["sent"]


async def test_a_given_up_turn_ends_its_visible_message(hub_runtime: World) -> None:
    hub_runtime.model.script(Plan(chunks=1000, delay=0.05))
    await hub_runtime.arrive("slack", "tell me", number=1, conversation="D1")
    fake = hub_runtime.fakes["slack"]
    await hub_runtime.until(lambda: fake.shown("D1"), what="the message begins to grow")
    await hub_runtime.until(lambda: _ends(hub_runtime) == ["live"])
    hub_runtime.rows("UPDATE turn SET attempts = 5")
    hub_runtime.rows("UPDATE session SET fence = fence + 1, lease_owner = NULL, due_at = now() - interval '1 s'")
    await hub_runtime.until(lambda: hub_runtime.value("SELECT status FROM turn") == "dead")
    await hub_runtime.quiet()
    assert len(fake.shown("D1")) == 1
    assert "could not finish" in fake.shown("D1")[0]


def test_progress_that_nobody_noted_is_not_appended_to() -> None:
    from channels_adapters.platforms.slack.outbound import progress, rest_of

    stored = from_row("1.1", progress("one"))
    assert rest_of("one two", progress("one")) == " two"
    assert rest_of("one two", stored.extra) is None
