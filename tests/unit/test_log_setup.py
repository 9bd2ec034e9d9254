"""Test the formats of log lines, and the levels of the libraries."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from vllm_operator.log_setup import QUIET_LOGGERS, JsonFormatter, configure


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
    line = JsonFormatter().format(record)

    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "operator",
        "message": "llm/ä: written",
    }


def test_exception_is_a_field_of_the_line() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        record = logging.LogRecord("operator", logging.ERROR, __file__, 1, "no", (), (ValueError, error, None))

    assert json.loads(JsonFormatter().format(record))["error"] == "ValueError: boom"


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
