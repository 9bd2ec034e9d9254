"""Items about clients, which no manifest and no server shows."""

from __future__ import annotations

from collections.abc import Callable

from vllm_operator.cli.checks.item import CheckItem, CheckResult, CheckSubject

SECTION = "Clients"


def _unseen(remedy: str) -> Callable[[CheckSubject], CheckResult]:
    def judge(_subject: CheckSubject) -> CheckResult:
        return CheckResult("unknown", "a property of the client, which is not seen from here", remedy)

    return judge


ITEMS = (
    CheckItem(
        "client-async",
        SECTION,
        "Async clients for many requests",
        _unseen("use an async client, such as AsyncVLLMClient"),
    ),
    CheckItem(
        "client-pool", SECTION, "Connection pooling", _unseen("share one client with its connections, as VLLMClient is")
    ),
    CheckItem(
        "client-retries",
        SECTION,
        "Retries with backoff",
        _unseen("retry 429, 503 and broken connections with a growing delay, never other 4xx answers: VLLMClient does"),
    ),
    CheckItem(
        "client-breaker",
        SECTION,
        "Circuit breaker",
        _unseen("stop sending for a while after several failures in a row: VLLMClient does"),
    ),
    CheckItem(
        "client-streaming",
        SECTION,
        "Streaming for people who wait",
        _unseen("request stream: true for chats, as stream_chat does"),
    ),
)
