"""Test the formats of log lines, and the levels of the libraries."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from vllm_operator import __version__
from vllm_operator.kube.key import Key
from vllm_operator.log_setup import QUIET_LOGGERS, JsonFormatter, configure, log_resource


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Restore the handlers and levels of all loggers that `configure` changes."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in QUIET_LOGGERS)]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    yield
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_record_becomes_one_line_of_json() -> None:
    record = logging.LogRecord("operator", logging.INFO, __file__, 1, "%s: written", ("llm/ä",), None)
    record.created = 0.0
    line = JsonFormatter({"service.name": "tests"}).format(record)

    assert json.loads(line) == {
        "timestamp": "1970-01-01T00:00:00.000Z",
        "severity_text": "INFO",
        "severity_number": 9,
        "body": "llm/ä: written",
        "instrumentation_scope": {"name": "operator"},
        "resource": {"service.name": "tests"},
    }


@pytest.mark.parametrize(
    ("level", "text", "number"),
    [
        (logging.DEBUG, "DEBUG", 5),
        (logging.INFO + 5, "INFO", 9),
        (logging.WARNING, "WARN", 13),
        (logging.ERROR, "ERROR", 17),
        (logging.CRITICAL, "FATAL", 21),
        (1, "TRACE", 1),
    ],
)
def test_severity_is_that_of_the_log_data_model(level: int, text: str, number: int) -> None:
    record = logging.LogRecord("operator", level, __file__, 1, "x", (), None)
    found = json.loads(JsonFormatter({}).format(record))
    assert (found["severity_text"], found["severity_number"]) == (text, number)


def test_line_about_a_server_names_it_in_attributes() -> None:
    record = logging.LogRecord("operator", logging.INFO, __file__, 1, "%s: %s", (Key("llm", "mistral"), "ok"), None)
    found = json.loads(JsonFormatter({}).format(record))
    assert found["body"] == "llm/mistral: ok"
    assert found["attributes"] == {"k8s.namespace.name": "llm", "k8s.vllmserver.name": "mistral"}


def test_line_inside_a_span_names_it() -> None:
    record = logging.LogRecord("operator", logging.INFO, __file__, 1, "x", (), None)
    inside = json.loads(JsonFormatter({}, lambda: ("ab" * 16, "cd" * 8)).format(record))
    outside = json.loads(JsonFormatter({}, lambda: None).format(record))
    assert (inside["trace_id"], inside["span_id"]) == ("ab" * 16, "cd" * 8)
    assert "trace_id" not in outside


def test_mapping_as_the_only_argument_is_formatted() -> None:
    record = logging.LogRecord("operator", logging.INFO, __file__, 1, "%(a)s", ({"a": 1},), None)
    assert json.loads(JsonFormatter({}).format(record))["body"] == "1"


def test_resource_is_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    assert log_resource()["service.name"] == "vllm-operator"
    assert log_resource()["service.version"] == __version__
    monkeypatch.setenv("OTEL_SERVICE_NAME", "models")
    assert log_resource()["service.name"] == "models"


def test_exception_is_a_field_of_the_line() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        record = logging.LogRecord("operator", logging.ERROR, __file__, 1, "no", (), (ValueError, error, None))

    assert json.loads(JsonFormatter({}).format(record))["attributes"] == {
        "exception.type": "ValueError",
        "exception.message": "boom",
        "exception.stacktrace": "ValueError: boom",
    }


def test_error_without_an_exception_has_no_exception() -> None:
    record = logging.LogRecord("operator", logging.ERROR, __file__, 1, "no", (), (None, None, None))
    assert "attributes" not in json.loads(JsonFormatter({}).format(record))


@pytest.mark.parametrize(("log_format", "is_json"), [("json", True), ("text", False), ("auto", True)])
def test_format(log_format: str, is_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    configure(log_format, "info")
    (handler,) = logging.getLogger().handlers

    assert isinstance(handler.formatter, JsonFormatter) is is_json


@pytest.mark.parametrize(("level", "of_libraries"), [("debug", logging.WARNING), ("error", logging.ERROR)])
def test_libraries_log_warnings_at_most(level: str, of_libraries: int) -> None:
    configure("text", level)

    assert logging.getLogger().level == logging.getLevelName(level.upper())
    assert {logging.getLogger(name).level for name in QUIET_LOGGERS} == {of_libraries}
