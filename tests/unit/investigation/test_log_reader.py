"""Logs are read once per failure, in the background; a new diagnosis enqueues the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.helpers.pods import container as container_status
from tests.helpers.pods import crashed_pod, loading_pod, ready_pod, termination, with_container
from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.investigation import log_reader
from vllm_operator.investigation.failed_containers import FailedContainer, failed_container
from vllm_operator.investigation.log_reader import FIRST_LOG_SECONDS, NAMESPACE_READS, ContainerLogReader
from vllm_operator.kube.key import Key
from vllm_operator.status.replicas.pod_memo import PodMemo

KEY = Key("llm", "mistral")
TOO_LONG = "User-specified max_model_len (9) is greater than the derived max_model_len (max_position_embeddings=8)"


def crashed(name: str = "a", run: str = "containerd://1", **more: Any) -> dict[str, Any]:
    """Return a pod whose container crashed."""
    body = crashed_pod({**termination(1), "containerID": run, **more}, name)
    body["metadata"]["uid"] = f"uid-{name}"
    return body


def failures(*pods: dict[str, Any], late: bool = False) -> list[FailedContainer]:
    """Return the failed containers of a server with these pods."""
    return [found for body in pods if (found := failed_container(body, late, PodMemo()))]


class FakeLogs:
    """Return prepared logs, and remember the reads."""

    def __init__(self, *answers: str | ApiError) -> None:
        self.answers = list(answers)
        self.reads: list[tuple[str, str, str, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, namespace: str, pod: str, container: str, previous: bool) -> str:
        self.reads.append((namespace, pod, container, previous))
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer


@asynccontextmanager
async def running(logs: FakeLogs) -> AsyncIterator[tuple[ContainerLogReader, list[Key]]]:
    """Run a log reader; yield it and the keys that it enqueued."""
    enqueued: list[Key] = []
    reader = ContainerLogReader(logs.read, enqueued.append)
    task = asyncio.create_task(reader.run())
    yield reader, enqueued
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run_tasks() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_log_of_a_failure_is_read_once_and_enqueues_its_server() -> None:
    logs = FakeLogs(TOO_LONG)
    async with running(logs) as (reader, enqueued):
        assert reader.diagnoses(KEY, failures(crashed())) == {}
        await run_tasks()

        assert reader.diagnoses(KEY, failures(crashed()))["a"].reason == "ContextTooLong"
        await run_tasks()
    assert logs.reads == [("llm", "a", "vllm", True)]
    assert enqueued == [KEY]


async def test_log_of_the_next_failure_is_read_and_the_old_diagnosis_stays_until_then() -> None:
    logs = FakeLogs(TOO_LONG, "KeyError: 'x'")
    async with running(logs) as (reader, enqueued):
        reader.diagnoses(KEY, failures(crashed()))
        await run_tasks()

        assert reader.diagnoses(KEY, failures(crashed(run="containerd://2")))["a"].reason == "ContextTooLong"
        await run_tasks()
        assert reader.diagnoses(KEY, failures(crashed(run="containerd://2")))["a"] == Diagnosis("", "KeyError: 'x'")
    assert enqueued == [KEY, KEY]


async def test_same_cause_again_enqueues_nothing() -> None:
    async with running(FakeLogs(TOO_LONG)) as (reader, enqueued):
        for run in ("containerd://1", "containerd://2", "containerd://3"):
            reader.diagnoses(KEY, failures(crashed(run=run)))
            await run_tasks()
    assert enqueued == [KEY]


async def test_log_of_a_container_that_has_not_restarted_is_not_that_of_its_previous_run() -> None:
    logs = FakeLogs(TOO_LONG)
    dead = with_container(crashed(), container_status({"terminated": {**termination(1), "containerID": "c"}}))
    async with running(logs) as (reader, _):
        reader.diagnoses(KEY, failures(dead))
        await run_tasks()
    assert logs.reads == [("llm", "a", "vllm", False)]


@pytest.mark.parametrize("body", [loading_pod(), ready_pod(), crashed(reason="OOMKilled")])
async def test_no_log_is_read_without_need(body: dict[str, Any]) -> None:
    logs = FakeLogs(TOO_LONG)
    async with running(logs) as (reader, _):
        assert reader.diagnoses(KEY, failures(body)) == {}
        await run_tasks()
    assert logs.reads == []


async def test_diagnoses_return_at_once_and_a_few_logs_are_read_at_a_time() -> None:
    logs = FakeLogs(TOO_LONG)
    logs.gate.clear()
    pods = [crashed(f"pod-{number}") for number in range(20)]
    async with running(logs) as (reader, _):
        assert reader.diagnoses(KEY, failures(*pods)) == {}
        await run_tasks()
        assert len(logs.reads) == NAMESPACE_READS
        logs.gate.set()
        await run_tasks()
        assert len(reader.diagnoses(KEY, failures(*pods))) == 20


async def test_log_of_a_pod_that_recovered_or_is_gone_is_not_read() -> None:
    logs = FakeLogs(TOO_LONG)
    async with running(logs) as (reader, enqueued):
        reader.diagnoses(KEY, failures(crashed()))
        reader.diagnoses(KEY, failures(ready_pod("a")))
        reader.diagnoses(KEY, failures(crashed()))
        reader.forget(KEY)
        await run_tasks()
        assert reader.diagnoses(KEY, failures()) == {}
    assert (logs.reads, enqueued) == ([], [])


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_refused_read_is_not_retried(status: int) -> None:
    logs = FakeLogs(ApiError(status, "No", "no"))
    async with running(logs) as (reader, _):
        reader.diagnoses(KEY, failures(crashed()))
        await run_tasks()
        assert reader.diagnoses(KEY, failures(crashed())) == {"a": NO_DIAGNOSIS}
    assert len(logs.reads) == 1


async def test_failed_read_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "RETRY_SECONDS", 0.0)
    logs = FakeLogs(NoAnswerError("Unreachable", "no"), ApiError(500, "Internal", "no"), TOO_LONG)
    async with running(logs) as (reader, _):
        reader.diagnoses(KEY, failures(crashed()))
        await run_tasks()
        assert reader.diagnoses(KEY, failures(crashed()))["a"].reason == "ContextTooLong"
    assert len(logs.reads) == 3


async def test_log_of_a_start_that_takes_too_long_is_read_once_while_it_runs() -> None:
    logs = FakeLogs("HTTP Error 429 thrown while requesting HEAD /x")
    async with running(logs) as (reader, _):
        for _ in range(2):
            reader.diagnoses(KEY, failures(loading_pod("a"), late=True))
            await run_tasks()
        assert reader.diagnoses(KEY, failures(loading_pod("a"), late=True))["a"].reason == "RateLimited"
    assert logs.reads == [("llm", "a", "vllm", False)]


async def test_status_waits_shortly_for_the_first_log_of_a_replica() -> None:
    logs, now = FakeLogs(TOO_LONG), [100.0]
    logs.gate.clear()
    reader = ContainerLogReader(logs.read, lambda key: None, lambda: now[0])
    task = asyncio.create_task(reader.run())

    assert reader.status_delay(KEY) is None
    reader.diagnoses(KEY, failures(crashed()))
    await run_tasks()
    assert reader.status_delay(KEY) == FIRST_LOG_SECONDS
    now[0] += FIRST_LOG_SECONDS
    assert reader.status_delay(KEY) is None  # a node that does not answer delays no status any longer

    now[0] = 100.0
    logs.gate.set()
    await run_tasks()
    assert reader.status_delay(KEY) is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


OTHER = Key("another", "qwen")


class DeadNode(FakeLogs):
    """Logs of which those of one namespace are never answered."""

    async def read(self, namespace: str, pod: str, container: str, previous: bool) -> str:
        if namespace == KEY.namespace:
            self.reads.append((namespace, pod, container, previous))
            await asyncio.Event().wait()
        return await super().read(namespace, pod, container, previous)


async def test_dead_node_of_one_namespace_does_not_delay_the_logs_of_another() -> None:
    logs = DeadNode(TOO_LONG)
    async with running(logs) as (reader, enqueued):
        reader.diagnoses(KEY, failures(*(crashed(f"pod-{number}") for number in range(40))))
        await run_tasks()
        reader.diagnoses(OTHER, failures(crashed()))
        await run_tasks()
        assert reader.diagnoses(OTHER, failures(crashed()))["a"].reason == "ContextTooLong"
    assert enqueued == [OTHER]


async def test_namespaces_take_turns() -> None:
    logs = FakeLogs(TOO_LONG)
    async with running(logs) as (reader, _):
        reader.diagnoses(KEY, failures(*(crashed(f"pod-{number}") for number in range(40))))
        reader.diagnoses(OTHER, failures(crashed()))
        await run_tasks()
    assert "another" in [namespace for namespace, *_ in logs.reads[: NAMESPACE_READS + 1]]


async def test_read_without_an_answer_ends_and_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "READ_SECONDS", 0.01)
    monkeypatch.setattr(log_reader, "RETRY_SECONDS", 0.0)
    logs = DeadNode(TOO_LONG)
    async with running(logs) as (reader, _):
        reader.diagnoses(KEY, failures(crashed()))
        for _ in range(100):
            await asyncio.sleep(0.01)
            if reader.diagnoses(KEY, failures(crashed())):
                break
        assert reader.diagnoses(KEY, failures(crashed())) == {"a": NO_DIAGNOSIS}
    assert len(logs.reads) == log_reader.ATTEMPTS


async def test_retry_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "RETRY_SECONDS", 3600.0)
    logs = FakeLogs(*[NoAnswerError("Unreachable", "no")] * 10, TOO_LONG)
    async with running(logs) as (reader, _):
        pods = [crashed(f"pod-{number}") for number in range(11)]
        reader.diagnoses(KEY, failures(*pods))
        await run_tasks()
        assert len(logs.reads) == 11
