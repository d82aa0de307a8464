"""Known answers, cross-checked with the platforms' own libraries."""

from typing import Any

import pytest

from channels_adapters.types import Outcome
from tests.conformance import cases

EVERY = [(slug, vector) for slug in cases.PUSHED for vector in cases.vectors(slug)]
FIELDS = {"slack": "signing_secret", "telegram": "secret_token", "webhook": "secret"}


@pytest.mark.parametrize(("slug", "vector"), [pytest.param(s, v, id=v["id"]) for s, v in EVERY])
def test_known_answers(slug: Any, vector: Any) -> None:
    secret = next(iter(vector["secret"].values()))
    adapter = cases.adapter(slug, **{FIELDS[slug]: secret})
    request = cases.vector_request(vector, slug)
    adapter.verify(request)
    if vector["id"].startswith("standard-webhooks"):
        return  # the body of the specification's example is not one of ours
    events = adapter.parse(request)
    assert events
    if "dedupe_id" in vector["expect"]:
        assert adapter.dedupe_key(events[0], request) == vector["expect"]["dedupe_id"]
    if "response_body" in vector["expect"]:
        response = adapter.acknowledge(request, events, [Outcome.IGNORED])
        assert response.body.decode() == vector["expect"]["response_body"]


def test_there_are_vectors() -> None:
    assert len(EVERY) >= 6
