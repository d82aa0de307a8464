"""A small dose of fuzz; the full one is `make fuzz`."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance import cases
from tests.fuzz import fuzz_adapters

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("slug", cases.PUSHED)
def test_mutated_requests_raise_nothing_else(slug: Any) -> None:
    score = fuzz_adapters.run(slug, 1_500, seed=7, seconds=10)
    assert not score.failures, score.failures[0]
    assert score.cases == 1_500
    assert score.refused > 100


@pytest.mark.parametrize("slug", cases.PUSHED)
@given(body=st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes(slug: Any, body: Any) -> None:
    fuzz_adapters.show(cases.adapter(slug), replace(fuzz_adapters.corpus(slug)[0], body=body))


@pytest.mark.parametrize("slug", cases.PUSHED)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_json_in_any_place_of_a_real_payload(slug: Any, data: Any) -> None:
    import json

    item = data.draw(st.sampled_from([item for item in cases.inbound(slug) if item.body[:1] == b"{"]))
    payload = json.loads(item.body)
    inner = payload
    while isinstance(inner, dict) and inner:
        name = data.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[name], dict) or data.draw(st.booleans()):
            inner[name] = data.draw(JSON)
            break
        inner = inner[name]
    body = json.dumps(payload).encode()
    fuzz_adapters.show(cases.adapter(slug), replace(fuzz_adapters.corpus(slug)[0], body=body))


@pytest.mark.parametrize("slug", cases.PUSHED)
@given(value=st.text(max_size=80), name=st.sampled_from(["signature", "timestamp", "id"]))
@settings(max_examples=150, deadline=None)
def test_any_text_in_a_signed_header_is_refused(slug: Any, value: Any, name: Any) -> None:
    from channels_adapters.errors import RequestRejected

    header = cases.fake(slug).auth.get(name)
    if header is None:
        return
    real = fuzz_adapters.corpus(slug)[0]
    with pytest.raises(RequestRejected):
        cases.adapter(slug).verify(replace(real, headers={**real.headers, header: value}))
