"""Lines of results files: written and read back, and whatever else a line may hold."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.client.batch.records import START, Record, as_line, fingerprint, parse_line

ANSWER: dict[str, Any] = {"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 3}}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_line_is_openais_output_format() -> None:
    line = as_line(Record("a", b"\x01" * 16, True, 200, ANSWER, details={"latency": 0.5}))

    value = orjson.loads(line)
    assert line.startswith(START)
    assert line.endswith(b"\n")
    assert value["custom_id"] == "a"
    assert value["response"] == {"status_code": 200, "request_id": "chatcmpl-1", "body": ANSWER}
    assert value["error"] is None


def test_failure_without_an_answer_has_no_response() -> None:
    value = orjson.loads(as_line(Record("a", b"", False, None, None, error={"code": "X", "message": "m"})))

    assert value["response"] is None
    assert value["error"] == {"code": "X", "message": "m"}


@given(
    custom_id=st.text(),
    digest=st.binary(min_size=16, max_size=16),
    is_final=st.booleans(),
    body=st.dictionaries(st.text(), JSON, max_size=4),
)
def test_line_is_read_back(custom_id: str, digest: bytes, is_final: bool, body: dict[str, Any]) -> None:
    record = Record(custom_id, digest, is_final, 200, body, details={"latency": 0.5, "attempts": 2})

    line = as_line(record)

    assert parse_line(line) == record
    assert line.count(b"\n") == 1


@given(st.binary(max_size=200) | st.builds(orjson.dumps, JSON))
def test_any_line_is_a_record_or_none(line: bytes) -> None:
    found = parse_line(line)

    assert found is None or isinstance(found.custom_id, str)


@given(st.dictionaries(st.sampled_from(["id", "custom_id", "response", "error", "vllm_operator"]), JSON))
def test_fields_of_other_types_are_refused_or_left_out(value: dict[str, Any]) -> None:
    found = parse_line(orjson.dumps(value))

    assert found is None or isinstance(found.fingerprint, bytes)


def test_line_of_another_program_is_final_when_it_holds_an_answer() -> None:
    good = parse_line(b'{"id":"x","custom_id":"a","response":{"status_code":200,"body":{}},"error":null}')
    bad = parse_line(b'{"id":"x","custom_id":"a","response":{"status_code":500,"body":{}},"error":null}')

    assert good is not None
    assert (good.is_final, good.fingerprint) == (True, b"")
    assert bad is not None
    assert not bad.is_final


def test_deep_nesting_is_no_record() -> None:
    assert parse_line(b'{"custom_id":"a","response":' + b"[" * 100_000 + b"]" * 100_000 + b"}") is None


def test_fingerprint_ignores_the_order_of_fields_and_nothing_else() -> None:
    one = fingerprint("/v1/chat/completions", {"a": 1, "b": {"c": 2, "d": 3}})

    assert one == fingerprint("/v1/chat/completions", {"b": {"d": 3, "c": 2}, "a": 1})
    assert one != fingerprint("/v1/completions", {"a": 1, "b": {"c": 2, "d": 3}})
    assert one != fingerprint("/v1/chat/completions", {"a": 1, "b": {"c": 2, "d": 4}})
    assert one != fingerprint("/v1/chat/completions", {"a": True, "b": {"c": 2, "d": 3}})


def test_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        fingerprint("/v1/chat/completions", {"a": object()})


def test_fingerprint_takes_every_body_that_can_be_sent() -> None:
    assert fingerprint("/v1/completions", {"logit_bias": {1: 2.0}}) == fingerprint(
        "/v1/completions", {"logit_bias": {"1": 2.0}}
    )
