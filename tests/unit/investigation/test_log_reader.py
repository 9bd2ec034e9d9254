"""Logs are read once per failure, beside the passes, and wake the server when they tell something new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.helpers.pods import container as container_status
from tests.helpers.pods import crashed_pod, deployment, loading_pod, ready_pod, rolling, termination, with_container
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.investigation import log_reader
from vllm_operator.investigation.log_reader import AT_ONCE, FIRST_WORDS_SECONDS, ContainerLogReader
from vllm_operator.kube.key import Key
from vllm_operator.status.inputs import Observation

KEY = Key("llm", "mistral")
TOO_LONG = "User-specified max_model_len (9) is greater than the derived max_model_len (max_position_embeddings=8)"


def crashed(name: str = "a", run: str = "containerd://1", **more: Any) -> dict[str, Any]:
    """A pod whose container died."""
    body = crashed_pod({**termination(1), "containerID": run, **more}, name)
    body["metadata"]["uid"] = f"uid-{name}"
    return body


def seen(*pods: dict[str, Any], late: bool = False) -> Observation:
    """A server with these pods."""
    condition = rolling("ProgressDeadlineExceeded") if late else rolling()
    return Observation(deployment=deployment(len(pods), conditions=[condition]), pods=pods)


class Logs:
    """Stands for the API server: remembers what was asked."""

    def __init__(self, *answers: str | ApiError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, namespace: str, pod: str, container: str, previous: bool) -> str:
        self.asked.append((namespace, pod, container, previous))
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer


@asynccontextmanager
async def running(logs: Logs) -> AsyncIterator[tuple[ContainerLogReader, list[Key]]]:
    """Diagnoses at work, and the servers that they woke."""
    woken: list[Key] = []
    known = ContainerLogReader(logs.read, woken.append)
    task = asyncio.create_task(known.run())
    yield known, woken
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def settled() -> None:
    """Let every task come to rest."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_failure_is_read_once_and_wakes_its_server() -> None:
    logs = Logs(TOO_LONG)
    async with running(logs) as (known, woken):
        assert known.of(KEY, seen(crashed())) == {}
        await settled()

        assert known.of(KEY, seen(crashed()))["a"].reason == "ContextTooLong"
        await settled()
    assert logs.asked == [("llm", "a", "vllm", True)]
    assert woken == [KEY]


async def test_next_failure_is_read_again_and_the_old_diagnosis_stays_until_then() -> None:
    logs = Logs(TOO_LONG, "KeyError: 'x'")
    async with running(logs) as (known, woken):
        known.of(KEY, seen(crashed()))
        await settled()

        assert known.of(KEY, seen(crashed(run="containerd://2")))["a"].reason == "ContextTooLong"
        await settled()
        assert known.of(KEY, seen(crashed(run="containerd://2")))["a"] == Diagnosis("", "KeyError: 'x'")
    assert woken == [KEY, KEY]


async def test_same_cause_again_wakes_nobody() -> None:
    async with running(Logs(TOO_LONG)) as (known, woken):
        for run in ("containerd://1", "containerd://2", "containerd://3"):
            known.of(KEY, seen(crashed(run=run)))
            await settled()
    assert woken == [KEY]


async def test_container_that_has_not_restarted_yet_is_read_itself() -> None:
    logs = Logs(TOO_LONG)
    dead = with_container(crashed(), container_status({"terminated": {**termination(1), "containerID": "c"}}))
    async with running(logs) as (known, _):
        known.of(KEY, seen(dead))
        await settled()
    assert logs.asked == [("llm", "a", "vllm", False)]


@pytest.mark.parametrize("body", [loading_pod(), ready_pod(), crashed(reason="OOMKilled")])
async def test_no_log_is_read_without_need(body: dict[str, Any]) -> None:
    logs = Logs(TOO_LONG)
    async with running(logs) as (known, _):
        assert known.of(KEY, seen(body)) == {}
        await settled()
    assert logs.asked == []


async def test_pass_never_waits_and_only_some_logs_are_read_at_once() -> None:
    logs = Logs(TOO_LONG)
    logs.gate.clear()
    pods = [crashed(f"pod-{number}") for number in range(20)]
    async with running(logs) as (known, _):
        assert known.of(KEY, seen(*pods)) == {}
        await settled()
        assert len(logs.asked) == AT_ONCE
        logs.gate.set()
        await settled()
        assert len(known.of(KEY, seen(*pods))) == 20


async def test_pod_that_recovered_or_went_is_forgotten_and_not_read() -> None:
    logs = Logs(TOO_LONG)
    async with running(logs) as (known, woken):
        known.of(KEY, seen(crashed()))
        known.of(KEY, seen(ready_pod("a")))
        known.of(KEY, seen(crashed()))
        known.forget(KEY)
        await settled()
        assert known.of(KEY, seen()) == {}
    assert (logs.asked, woken) == ([], [])


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_log_that_cannot_be_read_is_not_asked_for_again(status: int) -> None:
    logs = Logs(ApiError(status, "No", "no"))
    async with running(logs) as (known, _):
        known.of(KEY, seen(crashed()))
        await settled()
        assert known.of(KEY, seen(crashed())) == {"a": Diagnosis("", "")}
    assert len(logs.asked) == 1


async def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "PAUSE_SECONDS", 0.0)
    logs = Logs(NoAnswerError("Unreachable", "no"), ApiError(500, "Internal", "no"), TOO_LONG)
    async with running(logs) as (known, _):
        known.of(KEY, seen(crashed()))
        await settled()
        assert known.of(KEY, seen(crashed()))["a"].reason == "ContextTooLong"
    assert len(logs.asked) == 3


async def test_start_that_takes_too_long_is_read_once_while_it_runs() -> None:
    logs = Logs("HTTP Error 429 thrown while requesting HEAD /x")
    async with running(logs) as (known, _):
        for _ in range(2):
            known.of(KEY, seen(loading_pod("a"), late=True))
            await settled()
        assert known.of(KEY, seen(loading_pod("a"), late=True))["a"].reason == "RateLimited"
    assert logs.asked == [("llm", "a", "vllm", False)]


async def test_first_log_of_a_replica_is_worth_a_short_wait() -> None:
    logs, now = Logs(TOO_LONG), [100.0]
    logs.gate.clear()
    known = ContainerLogReader(logs.read, lambda key: None, lambda: now[0])
    task = asyncio.create_task(known.run())

    assert known.pause(KEY) is None
    known.of(KEY, seen(crashed()))
    await settled()
    assert known.pause(KEY) == FIRST_WORDS_SECONDS
    now[0] += FIRST_WORDS_SECONDS
    assert known.pause(KEY) is None  # a node that does not answer holds up no status

    now[0] = 100.0
    logs.gate.set()
    await settled()
    assert known.pause(KEY) is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
