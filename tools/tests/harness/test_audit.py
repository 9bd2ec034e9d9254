"""The reader of the API server's audit log meets a log that is being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.harness.audit import AuditLog, Request, by_target


def line(name: str) -> bytes:
    """A line of the log: the operator has changed a Deployment."""
    event = {
        "verb": "patch",
        "user": {"username": "operator"},
        "userAgent": "vllm-operator/1",
        "requestURI": "/",
        "objectRef": {"apiGroup": "apps", "resource": "deployments", "namespace": "team", "name": name},
        "responseStatus": {"code": 200},
    }
    return json.dumps(event).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.log")


@pytest.mark.parametrize("written", [0, 1, 40, len(line("b")) - 1])
def test_line_that_is_half_written_at_the_mark_is_counted_whole(log: AuditLog, written: int) -> None:
    log.path.write_bytes(line("a") + line("b")[:written])
    mark = log.mark()
    assert log.writes(mark) == []
    with log.path.open("ab") as file:
        file.write(line("b")[written:] + line("c"))
    assert [request.name for request in log.writes(mark)] == ["b", "c"]


@pytest.mark.parametrize("begun", [None, b"", line("a")[:20]])
def test_log_without_a_whole_line_is_counted_from_its_beginning(log: AuditLog, begun: bytes | None) -> None:
    if begun is not None:
        log.path.write_bytes(begun)
    assert log.mark() == 0


def test_requests_before_the_mark_are_not_counted(log: AuditLog) -> None:
    log.path.write_bytes(line("a"))
    assert log.writes(log.mark()) == []


def test_writes_are_counted_by_their_target() -> None:
    found = [_write("deployments"), _write("vllmservers", "status"), _write("vllmservers", "status")]
    assert list(by_target(found).items()) == [("vllmservers/status", 2), ("deployments", 1)]


def _write(resource: str, subresource: str = "") -> Request:
    return Request("patch", "", resource, subresource, "scale", "s00000", 200, "", "", "", is_denied=False)
