"""Set up structured logs: text on a terminal, JSON in a pod.

The JSON has the names of OpenTelemetry's log data model (opentelemetry.io/docs/specs/otel/logs/data-model) and of its
semantic conventions, so that a collector needs no mapping: docs/reference/logs.md.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from vllm_operator import __version__

QUIET_LOGGERS = ("kopf", "aiohttp.access", "asyncio", "opentelemetry", "urllib3")
"""Loggers of libraries, of which only warnings and errors are logged."""

SERVICE = "vllm-operator"
"""`service.name`, unless OTEL_SERVICE_NAME says otherwise."""

SEVERITIES = (
    (logging.CRITICAL, "FATAL", 21),
    (logging.ERROR, "ERROR", 17),
    (logging.WARNING, "WARN", 13),
    (logging.INFO, "INFO", 9),
    (logging.DEBUG, "DEBUG", 5),
    (logging.NOTSET, "TRACE", 1),
)
"""Lowest level of Python -> severity_text and severity_number, as the log data model maps them."""


@runtime_checkable
class LogSubject(Protocol):
    """An argument of a log line that names what the line is about."""

    def log_attributes(self) -> dict[str, str]:
        """Return attributes by the names of the semantic conventions."""


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON.

    Args:
        resource: what emits the logs.
        trace_context: returns trace id and span id of the current span in hexadecimal digits; None without a span.
    """

    def __init__(
        self,
        resource: dict[str, str] | None = None,
        trace_context: Callable[[], tuple[str, str] | None] | None = None,
    ) -> None:
        super().__init__()
        self._resource = log_resource() if resource is None else resource
        self._trace_context = trace_context

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        severity, number = next((text, number) for level, text, number in SEVERITIES if record.levelno >= level)
        entry: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "severity_text": severity,
            "severity_number": number,
            "body": record.getMessage(),
        }
        if attributes := self._attributes(record):
            entry["attributes"] = attributes
        if self._trace_context is not None and (span := self._trace_context()):
            entry["trace_id"], entry["span_id"] = span
        entry["instrumentation_scope"] = {"name": record.name}
        entry["resource"] = self._resource
        return json.dumps(entry, ensure_ascii=False)

    def _attributes(self, record: logging.LogRecord) -> dict[str, str]:
        found: dict[str, str] = {}
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, LogSubject):
                found |= argument.log_attributes()
        if record.exc_info and record.exc_info[0] is not None:
            found["exception.type"] = record.exc_info[0].__qualname__
            found["exception.message"] = str(record.exc_info[1])
            found["exception.stacktrace"] = self.formatException(record.exc_info)
        return found


def log_resource() -> dict[str, str]:
    """Return what emits the logs: service, version, and the process by the name of its pod."""
    return {
        "service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE,
        "service.version": __version__,
        "service.instance.id": socket.gethostname(),
    }


def configure(log_format: str, level: str, trace_context: Callable[[], tuple[str, str] | None] | None = None) -> None:
    """Set up the root logger.

    Args:
        log_format: `text`, `json`, or `auto` for text on a terminal and JSON elsewhere.
        level: the lowest level that is logged.
        trace_context: returns trace id and span id of the current span, for JSON; None without tracing.
    """
    handler = logging.StreamHandler(sys.stderr)
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(text if as_text else JsonFormatter(trace_context=trace_context))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
