"""All faults with their doses."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from tests.faults.canaries import canaries
from tests.faults.deaths import crash_points, kill_gateways, kill_runners, pause_runner
from tests.faults.flood import flood
from tests.faults.growing import growing
from tests.faults.inflow import poison, repeated_and_scattered
from tests.faults.models import bad_model, hanging_model
from tests.faults.outcome import Dose, Result
from tests.faults.outflow import bad_platform, refusing_platform, silent_platform
from tests.faults.pages import visitors
from tests.faults.reading import settle_and_check
from tests.faults.rig import Rig, Stack
from tests.faults.rolling import rolling
from tests.faults.rounds import rounds
from tests.faults.storage import lose_valkey, restart_postgres

SMALL_POINTS = ("accept.after_commit", "claim.after_commit", "commit.after", "send.after")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: on a rig that others have used (small), and on one of its own (full)."""

    run: Callable[[Rig, Dose], Awaitable[Result]]
    small: Dose
    full: Dose


async def _few_points(rig: Rig, dose: Dose) -> Result:
    return await crash_points(rig, dose, points=SMALL_POINTS)


FAULTS: dict[str, Fault] = {
    "model": Fault(bad_model, Dose(messages=0), Dose(messages=0, faults=5)),
    "poison": Fault(poison, Dose(messages=40), Dose(messages=1000, faults=20)),
    "platform": Fault(bad_platform, Dose(messages=60, faults=12), Dose(messages=3000, faults=500)),
    "refusal": Fault(refusing_platform, Dose(messages=40), Dose(messages=500)),
    "repeats": Fault(
        repeated_and_scattered,
        Dose(messages=240, rate=60.0),
        Dose(messages=7500, conversations=200, rate=60.0),
    ),
    "valkey": Fault(lose_valkey, Dose(messages=60, faults=2), Dose(messages=3000, faults=20)),
    "postgres": Fault(restart_postgres, Dose(messages=90), Dose(messages=3000, faults=20)),
    "pause": Fault(pause_runner, Dose(messages=90), Dose(messages=2000, faults=20)),
    "kill": Fault(kill_runners, Dose(messages=90), Dose(messages=6000, faults=60)),
    "points": Fault(_few_points, Dose(messages=90), Dose(messages=160, faults=10)),
    "pages": Fault(
        visitors,
        Dose(messages=12, conversations=6, faults=3),
        Dose(messages=400, conversations=20, faults=45),
    ),
    "gateway": Fault(kill_gateways, Dose(messages=60), Dose(messages=3000, faults=30)),
}
"""In the order of the small dose: what needs fewer processes comes first."""
ALONE: dict[str, Callable[[Stack], Awaitable[Result]]] = {
    "growing": growing,
    "rounds": rounds,
    "canaries": canaries,
    "silence": silent_platform,
    "hang": hanging_model,
    "flood": flood,
    "rolling": rolling,
}


async def small(stack: Stack) -> list[Result]:
    """Every fault in a small dose, one after another on one hub; at the end the whole history once more."""
    results = []
    async with Rig(stack) as rig:
        for fault in FAULTS.values():
            results.append(await fault.run(rig, fault.small))  # noqa: PERF401 - what came before an error is kept
        whole = Result(name="the whole history", report=await settle_and_check(rig, whole=True))
        results.append(whole.done())
    return results


async def full(stack: Stack, name: str, *, messages: int | None = None) -> Result:
    """One fault in its full dose (or so many messages), on a hub of its own."""
    if name in ALONE:
        return await ALONE[name](stack)
    fault = FAULTS[name]
    dose = fault.full if messages is None else _scaled(fault.full, messages)
    run = crash_points if name == "points" else fault.run
    async with Rig(stack) as rig:
        return await run(rig, replace(dose, timed=True))


def _scaled(dose: Dose, messages: int) -> Dose:
    """As many strikes per message as the full dose has."""
    if not dose.messages:
        return dose
    return replace(dose, messages=messages, faults=max(1, round(dose.faults * messages / dose.messages)))


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| fault | result | messages | strikes | seconds | figures |", "|---|---|---|---|---|---|"]
    for result in results:
        figures = ", ".join(f"{name} {value:g}" for name, value in result.figures.items() if "chars" not in name)
        counts = result.report.counts
        more = f"taken over {counts.get('retaken', 0)}, sent again {counts.get('repeated_sends', 0)}"
        lines.append(
            f"| {result.name} | {'passed' if result.passed else '**failed**'} | {result.sent} | {result.faults} |"
            f" {result.seconds:.0f} | {figures or '-'}{', ' + more if counts else ''} |"
        )
    return "\n".join(lines)
