from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.gateway.limits.messages import OVER_LIMIT, Descriptor, read_request, write_response


def test_descriptors_are_read() -> None:
    raw = b"\x0a\x01d" + _field(2, _entry("phase", "end") + _entry("key", "a") + _field(3, b"\x08\xac\x02"))
    assert read_request(raw) == [Descriptor({"phase": "end", "key": "a"}, 300)]


def test_a_response_holds_code_headers_and_body() -> None:
    expected = b"\x08\x02" + _field(3, _field(1, b"retry-after") + _field(2, b"5")) + _field(5, b"{}")
    assert write_response(OVER_LIMIT, (("retry-after", "5"),), "{}") == expected


@given(st.binary(max_size=200))
def test_damaged_messages_are_refused_or_read(raw: bytes) -> None:
    try:
        read_request(raw)
    except ValueError:
        return


@pytest.mark.parametrize("raw", [b"\x12\x05a", b"\x80" * 20, b"\x13\x00"])
def test_damage_is_named(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|number|field"):
        read_request(raw)


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2, len(value))) + value


def _entry(key: str, value: str) -> bytes:
    return _field(1, _field(1, key.encode()) + _field(2, value.encode()))
