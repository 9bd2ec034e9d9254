"""A log is requested with a limit, and read with the same limit."""

from __future__ import annotations

from collections.abc import Mapping

from vllm_operator.kube.pod_logs import LIMIT_BYTES, TAIL_LINES, read_log_tail


class FakeClient:
    """Return a text, and keep the request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Mapping[str, str], int]] = []

    async def get_text(self, path: str, parameters: Mapping[str, str], max_bytes: int) -> str:
        self.requests.append((path, parameters, max_bytes))
        return "log"


async def test_log_is_limited_in_the_request_and_in_the_reading() -> None:
    client = FakeClient()
    assert await read_log_tail(client, "llm", "pod", "vllm", previous=True) == "log"  # type: ignore[arg-type]
    parameters = {
        "container": "vllm",
        "previous": "true",
        "tailLines": str(TAIL_LINES),
        "limitBytes": str(LIMIT_BYTES),
    }
    assert client.requests == [("/api/v1/namespaces/llm/pods/pod/log", parameters, LIMIT_BYTES)]
