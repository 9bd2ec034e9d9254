from __future__ import annotations

import pytest
from pydantic import ValidationError

from vllm_operator.client import ClientConfig, RetryPolicy, Timeouts


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000"),
        ("https://host/prefix/v1", "https://host/prefix"),
        (" http://[::1]:8000/ ", "http://[::1]:8000"),
    ],
)
def test_base_url_is_taken_with_and_without_v1(given: str, normal: str) -> None:
    assert ClientConfig(base_url=given).base_urls == (normal,)


def test_same_url_twice_is_one_endpoint() -> None:
    assert ClientConfig(base_url=("http://a/v1", "http://a", "http://b")).base_urls == ("http://a", "http://b")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:8000", "does not start with http"),
        ("ftp://host", "does not start with http"),
        ("http://", "no host"),
        ("http://host:99999", "port"),
        ("http://host:abc", "port"),
        ("http://host/v1?key=1", "query"),
        ("http://host/a b", "space"),
        ("http://ho st", "space"),
        ("http://user:secret@host", "credentials; use api_key"),
    ],
)
def test_wrong_base_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=f"(?i){reason}") as caught:
        ClientConfig(base_url=url)

    assert "secret" not in str(caught.value)


def test_no_url_is_refused() -> None:
    with pytest.raises(ValidationError, match="names no URL"):
        ClientConfig(base_url=())


def test_key_is_never_shown() -> None:
    assert "sk-1" not in repr(ClientConfig(api_key="sk-1"))
    headers = {"Authorization": "Bearer sk-1", "X-Tenant": "sk-1"}
    assert "sk-1" not in repr(ClientConfig(headers=headers))


@pytest.mark.parametrize("headers", [{"X-A": "b\r\nEvil: 1"}, {"X A": "b"}, {"": "b"}])
def test_header_that_would_split_the_request_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="headers"):
        ClientConfig(headers=headers)


def test_unknown_and_impossible_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="timout"):
        ClientConfig(timout=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="connect"):
        Timeouts(connect=0)
    with pytest.raises(ValidationError, match="max_attempts"):
        RetryPolicy(max_attempts=0)
