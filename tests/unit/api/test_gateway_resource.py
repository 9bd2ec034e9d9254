from __future__ import annotations

import pytest

from vllm_operator.api.gateway_resource import parse_gateway
from vllm_operator.api.names import UNREADABLE
from vllm_operator.errors import InvalidSpecError

METADATA = {"namespace": "llm", "name": "chat", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}


def test_a_gateway_without_a_spec_is_valid() -> None:
    gateway = parse_gateway({"metadata": METADATA})
    assert (gateway.key, gateway.created, gateway.spec.replicas) == ("llm/chat", 1767225600, 2)
    assert parse_gateway({"metadata": {**METADATA, "creationTimestamp": "x"}}).created == 0


def test_a_wrong_field_and_an_unreadable_gateway_are_named() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.replicas: "):
        parse_gateway({"metadata": METADATA, "spec": {"replicas": -1}})
    with pytest.raises(InvalidSpecError, match="cannot be read: too large"):
        parse_gateway({"metadata": METADATA, UNREADABLE: "too large"})
