"""The session reads only the status of an answer."""

from __future__ import annotations

import pytest

from tests.helpers.fake_collector import fake_collector
from vllm_operator.telemetry.collector_session import CollectorSession


@pytest.mark.parametrize(("status", "body"), [(200, b"x" * 1_000_000), (307, b""), (503, b"later")])
def test_answer_has_its_status_and_no_body(status: int, body: bytes) -> None:
    with fake_collector() as collector, CollectorSession() as session:
        collector.status, collector.body = status, body
        collector.headers = {"Location": f"{collector.url}/elsewhere"}
        answer = session.post(f"{collector.url}/v1/traces", data=b"")

        assert (answer.status_code, answer.content, answer.history) == (status, b"", [])
        assert len(collector.requests) == 1
