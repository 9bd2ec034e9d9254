"""The fields of tracing: the endpoints that they accept, as the API server and as the operator judge them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helpers.specs import body, spec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.offline.report import judge_file

GRPC = "http://collector.observability:4317"
HTTP = "https://collector.observability:4318/v1/traces"


def problems(**tracing: Any) -> str:
    """What API server and operator say about a server with this tracing; empty when they accept it."""
    text = json.dumps(body(monitoring={"tracing": tracing}))
    (judgement,) = judge_file(text, "llm", frozenset(), "restricted")
    return "; ".join(problem.message for problem in judgement.problems)


@pytest.mark.parametrize(
    "tracing",
    [
        {"endpoint": GRPC},
        {"endpoint": "https://collector"},
        {"endpoint": "http://[2001:db8::1]:4317"},
        {"endpoint": "http://collector:4317/"},
        {"endpoint": HTTP, "protocol": "http/protobuf"},
        {"endpoint": GRPC, "sampleRatio": 0.25, "serviceName": "models of team A", "detailed": ["all"]},
    ],
)
def test_sensible_tracing_is_accepted(tracing: dict[str, Any]) -> None:
    assert problems(**tracing) == ""


@pytest.mark.parametrize(
    ("tracing", "expected"),
    [
        ({}, "endpoint"),
        ({"endpoint": ""}, "spec.monitoring.tracing.endpoint"),
        ({"endpoint": "collector:4317"}, "spec.monitoring.tracing.endpoint"),
        ({"endpoint": "grpc://collector:4317"}, "spec.monitoring.tracing.endpoint"),
        ({"endpoint": "http://collector:4317 --grpc"}, "spec.monitoring.tracing.endpoint"),
        ({"endpoint": "http://"}, "spec.monitoring.tracing.endpoint"),
        ({"endpoint": f"http://{'a' * 2000}"}, "spec.monitoring.tracing.endpoint"),
        ({"endpoint": GRPC, "protocol": "http/json"}, "spec.monitoring.tracing.protocol"),
        ({"endpoint": GRPC, "protocol": "http/protobuf"}, "add the path, such as /v1/traces"),
        ({"endpoint": HTTP}, "grpc takes no path: remove it from endpoint, or set protocol: http/protobuf"),
        ({"endpoint": GRPC, "sampleRatio": 1.5}, "spec.monitoring.tracing.sampleRatio"),
        ({"endpoint": GRPC, "detailed": ["scheduler"]}, "spec.monitoring.tracing.detailed[0]"),
        ({"endpoint": GRPC, "serviceName": "a\nb"}, "spec.monitoring.tracing.serviceName"),
    ],
)
def test_bad_tracing_is_refused_with_its_field(tracing: dict[str, Any], expected: str) -> None:
    assert expected in problems(**tracing)


def test_model_refuses_an_unknown_field() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.monitoring\.tracing\.insecure"):
        spec(monitoring={"tracing": {"endpoint": GRPC, "insecure": True}})
