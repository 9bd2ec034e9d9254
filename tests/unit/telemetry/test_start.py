"""The option must be carried out; variables that a platform sets must not keep the operator from running."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from vllm_operator.telemetry.start import start_tracing


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        monkeypatch.delenv(name, raising=False)


def test_off_by_default() -> None:
    assert start_tracing("") is None


def test_wrong_option_ends_the_process() -> None:
    with pytest.raises(click.ClickException, match="--otlp-endpoint"):
        start_tracing("collector")


def test_wrong_variable_is_said_and_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert start_tracing("") is None
    assert "no spans are sent: OTEL_EXPORTER_OTLP_PROTOCOL" in capsys.readouterr().err


def test_variable_that_the_library_refuses_is_named() -> None:
    # The library reads it when it is imported: that needs a new process.
    command = [sys.executable, "-m", "vllm_operator", "run", "--otlp-endpoint", "http://127.0.0.1:1"]
    environment = {**os.environ, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the variables of OpenTelemetry: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be")
