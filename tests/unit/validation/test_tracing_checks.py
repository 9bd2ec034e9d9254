"""Checks of tracing: set once, and for a vLLM that has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.specs import spec
from vllm_operator.api.spec import Spec
from vllm_operator.validation import tracing_checks
from vllm_operator.validation.checks import spec_problems, spec_warnings
from vllm_operator.validation.tracing_checks import tracing_notes
from vllm_operator.vllm.known_release import known_release

TRACING = {"tracing": {"endpoint": "http://collector:4317", "detailed": ["all"]}}


def traced(image: str = "vllm/vllm-openai:v0.32.0", *extra: str, **fields: str) -> Spec:
    return spec(image=image, monitoring=TRACING, engine={"extraArgs": list(extra)}, **fields)


def test_tracing_of_a_measured_release_is_accepted() -> None:
    assert spec_problems(traced()) == ()
    assert spec_warnings(traced()) == ()


@pytest.mark.parametrize("argument", ["--otlp-traces-endpoint=http://other:4317", "--otlp-traces=http://other:4317"])
def test_endpoint_in_extra_arguments_is_refused(argument: str) -> None:
    (problem,) = spec_problems(traced("vllm/vllm-openai:v0.32.0", argument))
    assert problem.message == (
        "spec.engine.extraArgs[0]: --otlp-traces-endpoint is also set by spec.monitoring.tracing: use "
        "spec.monitoring.tracing.endpoint, and remove the argument"
    )


def test_extra_arguments_alone_are_accepted() -> None:
    assert spec_problems(spec(engine={"extraArgs": ["--otlp-traces-endpoint=http://other:4317"]})) == ()


def test_release_without_the_flag_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = known_release(traced())
    assert found is not None
    without = replace(found, flags={name: flag for name, flag in found.flags.items() if "traces" not in name})
    monkeypatch.setattr(tracing_checks, "known_release", lambda _: without)

    first, second = spec_problems(traced())

    assert first.message.startswith("spec.monitoring.tracing.endpoint: vLLM 0.32.0 has no --otlp-traces-endpoint")
    assert second.message.startswith("spec.monitoring.tracing.detailed: vLLM 0.32.0 has no --collect-detailed-traces")


def test_unknown_version_gets_the_arguments_unchecked() -> None:
    assert spec_problems(traced(version="unknown")) == ()


def test_vllm_before_0_10_is_noted() -> None:
    (note,) = tracing_notes(traced("vllm/vllm-openai:v0.9.2"))
    assert note.startswith("spec.monitoring.tracing: vLLM before 0.10")
    assert tracing_notes(traced("vllm/vllm-openai:v0.10.2")) == ()
    assert tracing_notes(spec(image="vllm/vllm-openai:v0.9.2")) == ()
