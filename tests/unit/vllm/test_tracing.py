"""Flags and variables of tracing, of which every measured release has the flags."""

from __future__ import annotations

import pytest

from tests.helpers.specs import server, spec
from vllm_operator.vllm.releases import load_release, release_numbers
from vllm_operator.vllm.tracing import TRACE_FLAGS, trace_arguments, trace_environment

ENDPOINT = "http://collector:4317"


def test_without_tracing_there_is_nothing() -> None:
    assert trace_arguments(spec()) == []
    assert trace_environment(server()) == {}


def test_service_is_named_as_the_server() -> None:
    found = trace_environment(server("mistral", monitoring={"tracing": {"endpoint": ENDPOINT}}))
    assert found == {
        "OTEL_SERVICE_NAME": "mistral",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.namespace.name=llm,k8s.vllmserver.name=mistral",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
    }


def test_arguments_take_several_parts_once_and_keep_dollars() -> None:
    tracing = {"endpoint": "http://c:4318/$(X)", "protocol": "http/protobuf", "detailed": ["worker", "worker", "model"]}
    assert trace_arguments(spec(monitoring={"tracing": tracing})) == [
        "--otlp-traces-endpoint",
        "http://c:4318/$$(X)",
        "--collect-detailed-traces",
        "worker",
        "model",
    ]


@pytest.mark.parametrize("ratio", [0, 0.001, 1])
def test_ratio_sets_the_sampler(ratio: float) -> None:
    found = trace_environment(server(monitoring={"tracing": {"endpoint": ENDPOINT, "sampleRatio": float(ratio)}}))
    assert found["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio"
    assert found["OTEL_TRACES_SAMPLER_ARG"] == str(ratio)


@pytest.mark.parametrize("number", release_numbers())
def test_every_measured_release_takes_the_arguments(number: tuple[int, ...]) -> None:
    flags = load_release(number).flags  # type: ignore[arg-type]  # three numbers
    assert set(TRACE_FLAGS) <= set(flags)
    assert {"model", "worker", "all"} <= set(flags["--collect-detailed-traces"].choices or ())
