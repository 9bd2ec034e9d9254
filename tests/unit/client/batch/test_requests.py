"""The requests of a batch."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.client.batch.errors import InvalidBatchRequest
from vllm_operator.client.batch.requests import URLS, BatchRequest, as_request, parse_input_line
from vllm_operator.client.config import ClientConfig

CONFIG = ClientConfig(model="tiny", temperature=0.0)
LINE: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}


@pytest.mark.parametrize("url", URLS)
def test_line_of_each_url_is_read(url: str) -> None:
    request = parse_input_line(orjson.dumps({**LINE, "url": url}))

    assert request == BatchRequest({"messages": []}, url, "a", is_complete=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"custom_id": None}, "custom_id is missing"),
        ({"custom_id": 5}, "custom_id is a int: write a string"),
        ({"custom_id": ""}, "custom_id must have 1 to 512 characters"),
        ({"custom_id": "x" * 513}, "custom_id must have 1 to 512 characters"),
        ({"body": None}, "body is missing or no object"),
        ({"body": [1]}, "body is missing or no object"),
        ({"body": {"stream": True}}, "body.stream is true"),
        ({"method": "DELETE"}, "method is 'DELETE': only POST"),
        ({"url": "/metrics"}, "url is '/metrics': use one of /v1/chat/completions"),
        ({"url": 3}, "url is 3: use one of"),
        ({"url": None}, "url is None: use one of"),
    ],
)
def test_line_that_is_no_request_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidBatchRequest) as caught:
        parse_input_line(orjson.dumps({**LINE, **changes}))

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[]", "it is a JSON list"),
        (b"[" * 5000, "it is no JSON"),
        (b'"x"', "it is a JSON str"),
    ],
)
def test_line_that_is_no_object_is_refused(line: bytes, message: str) -> None:
    with pytest.raises(InvalidBatchRequest, match=message):
        parse_input_line(line)


@given(
    st.binary(max_size=100)
    | st.dictionaries(st.sampled_from(sorted(LINE)), st.integers(-9, 9) | st.text()).map(orjson.dumps)
)
def test_any_line_is_a_request_or_refused(line: bytes) -> None:
    with contextlib.suppress(InvalidBatchRequest):
        assert parse_input_line(line).url in URLS


def test_complete_body_gets_a_model_and_nothing_else() -> None:
    request = as_request({"messages": [1]}, CONFIG)

    assert request.body == {"messages": [1], "model": "tiny"}
    assert as_request({"messages": [1], "model": "other"}, CONFIG).body["model"] == "other"


def test_defaults_are_added_where_the_body_is_not_complete() -> None:
    assert as_request("hi", CONFIG).body == {
        "messages": [{"role": "user", "content": "hi"}],
        "model": "tiny",
        "temperature": 0.0,
    }
    assert as_request(BatchRequest.chat("hi", temperature=0.7), CONFIG).body["temperature"] == 0.7
    assert as_request(BatchRequest.embeddings("hi"), CONFIG).body == {"input": "hi", "model": "tiny"}


def test_options_are_those_of_the_client() -> None:
    request = BatchRequest.chat("hi", model="m", max_tokens=3, extra_body={"guided": 1}, custom_id="c")

    assert (request.custom_id, request.url) == ("c", "/v1/chat/completions")
    assert {**request.body, "messages": 0} == {"messages": 0, "model": "m", "max_tokens": 3, "guided": 1}
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        BatchRequest.chat("hi", temprature=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["timeout", "extra_headers"])
def test_options_of_a_call_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is not an option of a request in a batch"):
        BatchRequest.chat("hi", **{name: 3})  # type: ignore[arg-type]


def test_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidBatchRequest, match="custom_id has half of a surrogate pair"):
        as_request(BatchRequest.chat("hi", custom_id="\ud800"), CONFIG)

    assert as_request(BatchRequest.chat("hi", custom_id="日本語 🎉"), CONFIG).custom_id == "日本語 🎉"


def test_request_that_was_completed_stays_as_it_is() -> None:
    once = as_request("hi", CONFIG)

    assert as_request(once, CONFIG) == once
