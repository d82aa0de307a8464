"""Schemathesis over the REST API: what the OpenAPI document promises, tried with good, bad and connected requests.

`python -m tests.fuzz.rest_api URL KEY [--examples N] [--seed N]` against a hub that runs.
"""

import argparse
import itertools
import re
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

SLOW = r"/test/$"
"""Operations that ask somebody else."""
MEANING = {"agent_id", "credentials", "policy", "tools", "routes"}
"""Fields whose values a schema cannot tell right from wrong: ids of rows, and what a channel or an agent asks for."""
_KEY = re.compile(r"[!-~]{1,200}")
_numbers = itertools.count()


def failures(url: str, key: str, *, examples: int, seed: int = 1, steps: int = 6, coverage: bool = True) -> list[str]:
    """Everything that was found, one text each; the same seed tries the same. `url` is the hub's."""
    found: dict[str, None] = {}
    for event in _events(url, key, examples=examples, seed=seed, steps=steps, coverage=coverage):
        if isinstance(event, events.ScenarioFinished):
            for case, results in event.recorder.checks.items():
                for result in results:
                    if result.failure_info is not None and not _meant(event, case, result):
                        found[_told(event, case, result)] = None
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found[f"{getattr(event, 'label', '')}: {event!r}"[:1000]] = None
    return list(found)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Each request under a key of its own; what a key does is tested by hand."""
    given = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(given, str) and _KEY.fullmatch(given):
        case.headers["Idempotency-Key"] = f"{given}-{next(_numbers)}"


def _answer(event: Any, case: str) -> Any:
    interaction = event.recorder.interactions.get(case)
    return interaction.response if interaction is not None else None


def _meant(event: Any, case: str, result: Any) -> bool:
    """Whether a request of the right form was refused for what it means, such as a made-up cursor."""
    if result.name != "positive_data_acceptance":
        return False
    told = orjson.loads(_answer(event, case).content)
    kind = told.get("type", "").rpartition(":")[2]
    if kind == "invalid":
        return set(told.get("errors", {})) <= MEANING
    return kind in ("bad_cursor", "idempotency_key_reused")


def _told(event: Any, case: str, result: Any) -> str:
    failure, request = result.failure_info.failure, event.recorder.cases[case].value
    answer = _answer(event, case)
    said = f"{answer.status_code} {answer.content[:400]!r}" if answer is not None else "no answer"
    asked = f"{request.method} {request.path} {request.path_parameters} {request.query} {request.body!r}"[:500]
    message = " ".join(failure.message.split())[:300]
    return f"{request.operation.label} | {result.name} | {failure.title}: {message} | {asked} -> {said}"


def _events(url: str, key: str, *, examples: int, seed: int, steps: int, coverage: bool) -> Iterator[Any]:
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "headers": {"Authorization": f"Bearer {key}"},
            "request-timeout": 20,
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
                "allow-x00": False,
            },
            "phases": {"coverage": {"enabled": coverage}, "stateful": {"max-steps": steps}},
            "cache": {"enabled": False},
            "continue-on-failure": True,
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/api/schema/", config=config)
    yield from from_schema(schema.exclude(path_regex=SLOW)).execute()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = failures(given.url, given.key, examples=given.examples, seed=given.seed, steps=20)
    print("\n".join(found) or "nothing found")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
