"""One-token completions of a fake replica; those of a real vLLM are in `tests/stalled_engine`."""

from __future__ import annotations

import asyncio
import io
import wave
from dataclasses import replace

import pytest

from tests.helpers.fake_vllm import INFERENCE, FakeVLLM
from vllm_operator.probing import synthetic_completion
from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.http import ProbeError, ReplicaClient
from vllm_operator.probing.synthetic_completion import RANK_HEADER, CompletionResult, SyntheticCompletion, read_counters

STALLED = "/health answers 200, but a one-token completion got no answer within 1 s and no counter of the engine moved"


async def completion(session: ReplicaSession, vllm: FakeVLLM) -> SyntheticCompletion:
    """Return a completion that was not requested yet."""
    replica = ReplicaClient(session, vllm.url, timeout=2)
    counters = await read_counters(replica)
    assert counters is not None
    return SyntheticCompletion(replica, "mistral-7b", counters, None, deadline=1.0, poll=0.2)


async def requested(session: ReplicaSession, vllm: FakeVLLM) -> CompletionResult:
    return await (await completion(session, vllm)).request()


async def test_working_engine_answers_one_token(session: ReplicaSession, vllm: FakeVLLM) -> None:
    result = await requested(session, vllm)
    assert result.verdict == "Answered"
    assert result.counters is not None
    assert vllm.completed == [{"model": "mistral-7b", "prompt": "Hi", "max_tokens": 1, "temperature": 0}]


async def test_engine_without_answer_and_progress_is_stalled(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.stalled, vllm.engine_requests = True, 8
    result = await requested(session, vllm)
    assert (result.verdict, result.message) == ("Stalled", STALLED)


async def test_completion_is_cancelled_at_the_deadline(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.stalled = True
    await requested(session, vllm)
    async with asyncio.timeout(5):
        while vllm.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert vllm.cancelled == 1
    vllm.stalled = False
    assert vllm.completed == []


async def test_completion_of_a_busy_engine_is_cancelled_at_once(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.busy, vllm.engine_requests = True, 8
    result = await replace(await completion(session, vllm), deadline=60.0).request()
    assert result.verdict == "Moving"
    async with asyncio.timeout(5):
        while vllm.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert vllm.cancelled == 1


async def test_engine_that_recovers_before_the_deadline_answers(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.stalled = True
    pending = asyncio.create_task(replace(await completion(session, vllm), deadline=60.0).request())
    await asyncio.sleep(0.3)
    vllm.stalled = False
    assert (await pending).verdict in {"Answered", "Moving"}


async def test_network_cut_is_no_stall(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.stalled = True
    pending = asyncio.create_task(replace(await completion(session, vllm), deadline=8.0).request())
    await asyncio.sleep(0.3)
    vllm.delay = 60  # nothing comes back any more, not even from the API server
    assert (await pending).verdict == "Unclear"


async def test_ended_process_is_no_stall(session: ReplicaSession, vllm: FakeVLLM) -> None:
    pending = await completion(session, vllm)
    await vllm.stop()
    assert (await pending.request()).verdict == "Unclear"


async def test_embedding_model_gets_an_embedding_request(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.accepts = {"/v1/embeddings"}
    assert (await requested(session, vllm)).verdict == "Answered"
    assert vllm.completed == [{"model": "mistral-7b", "input": "Hi"}]


async def test_embedding_model_without_answer_is_stalled(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.accepts, vllm.stalled = {"/v1/embeddings"}, True
    assert (await requested(session, vllm)).verdict == "Stalled"


@pytest.mark.parametrize("path", ["/pooling", "/classify"])
async def test_classifier_gets_a_pooling_request(session: ReplicaSession, vllm: FakeVLLM, path: str) -> None:
    vllm.accepts = {path}
    assert (await requested(session, vllm)).verdict == "Answered"
    assert vllm.completed == [{"model": "mistral-7b", "input": "Hi"}]


async def test_speech_model_gets_a_moment_of_silence(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.accepts = {"/v1/audio/transcriptions"}
    assert (await requested(session, vllm)).verdict == "Answered"
    (form,) = vllm.completed
    file = form.pop("file")
    assert isinstance(file, bytes)
    with wave.open(io.BytesIO(file)) as audio:
        assert (audio.getnframes(), set(audio.readframes(audio.getnframes()))) == (1600, {0})
    assert form == {"model": "mistral-7b", "language": "en", "max_completion_tokens": "1"}


async def test_speech_model_without_answer_is_stalled(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.accepts, vllm.stalled = {"/v1/audio/transcriptions"}, True
    assert (await requested(session, vllm)).verdict == "Stalled"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_refusal_is_no_stall(session: ReplicaSession, vllm: FakeVLLM, status: int) -> None:
    vllm.status = dict.fromkeys(INFERENCE, status)
    assert (await requested(session, vllm)).verdict == "Refused"


async def test_server_error_is_no_stall(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.status = {"/v1/completions": 500}
    assert (await requested(session, vllm)).verdict == "Unclear"


@pytest.mark.parametrize(("busy", "verdict"), [(False, "Stalled"), (True, "Moving")])
async def test_full_queue_is_judged_by_the_counters(
    session: ReplicaSession, vllm: FakeVLLM, busy: bool, verdict: str
) -> None:
    vllm.status, vllm.busy, vllm.engine_requests = {"/v1/completions": 503}, busy, 8
    result = await requested(session, vllm)
    assert result.verdict == verdict
    assert ("was turned away with 503" in result.message) == (not busy)


async def test_rejection_in_front_of_an_idle_engine_is_unclear(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.status, vllm.engine_requests = {"/v1/completions": 429}, 0
    assert (await requested(session, vllm)).verdict == "Unclear"


async def test_server_without_counters_is_unclear(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.stalled = True
    pending = await completion(session, vllm)
    vllm.metrics = "python_info 1.0\n"
    assert (await pending.request()).verdict == "Unclear"


async def test_completion_goes_to_the_suspected_engine(session: ReplicaSession, vllm: FakeVLLM) -> None:
    await replace(await completion(session, vllm), engine="3").request()
    assert [headers[RANK_HEADER] for headers in vllm.headers_of_completions] == ["3"]


async def test_completion_carries_the_key_and_samples_do_not(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.api_key = "s3cret"
    assert (await requested(session, vllm)).verdict == "Refused"
    keyed = replace(await completion(session, vllm), headers={"authorization": "Bearer s3cret"})
    assert (await keyed.request()).verdict == "Answered"
    assert "s3cret" not in repr(keyed)
    assert {path for path, key in vllm.authorizations if key} == {"/v1/completions"}


async def test_sample_of_a_silent_server_fails(session: ReplicaSession, vllm: FakeVLLM) -> None:
    vllm.delay = 60
    with pytest.raises(ProbeError):
        await read_counters(ReplicaClient(session, vllm.url, timeout=0.1))


async def test_answer_during_the_last_sample_counts(session: ReplicaSession, vllm: FakeVLLM) -> None:
    """The deadline passes during a sample, and the completion has just been answered."""
    pending = replace(await completion(session, vllm), deadline=0.0, poll=0.0)
    vllm.delays, vllm.status = {"/metrics": 0.5}, {"/v1/completions": 500}
    assert (await pending.request()).verdict == "Unclear"


@pytest.mark.parametrize("flag", ["is_paused", "is_sleeping"])
async def test_engine_that_was_paused_or_put_to_sleep_is_no_stall(
    session: ReplicaSession, vllm: FakeVLLM, flag: str
) -> None:
    vllm.stalled, vllm.engine_requests = True, 8
    vllm.body = {f"/{flag}": b'{"%b":true}' % flag.encode()}
    assert await requested(session, vllm) == CompletionResult("Paused")
    assert vllm.requests["/v1/completions"] == 1


@pytest.mark.parametrize(
    "body", [b'{"is_paused":false}', b'{"is_paused":"true"}', b"[]", b"true", b"x" * 100_000, b"[" * 60_000]
)
async def test_engine_that_is_not_paused_is_stalled(session: ReplicaSession, vllm: FakeVLLM, body: bytes) -> None:
    vllm.stalled, vllm.engine_requests = True, 8
    vllm.body = {"/is_paused": body}
    assert (await requested(session, vllm)).verdict == "Stalled"


async def test_silence_about_a_pause_is_a_stall(
    session: ReplicaSession, vllm: FakeVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic_completion, "SUSPENDED_TIMEOUT_SECONDS", 0.1)
    vllm.stalled, vllm.engine_requests = True, 8
    vllm.delays = {"/is_paused": 60, "/is_sleeping": 60}
    assert (await requested(session, vllm)).verdict == "Stalled"


async def test_sleeping_engine_without_sleep_state_gets_no_request(session: ReplicaSession, vllm: FakeVLLM) -> None:
    """Releases before 0.11 export no `vllm:engine_sleep_state`."""
    lines = vllm.metrics.splitlines(keepends=True)
    vllm.metrics = "".join(line for line in lines if "engine_sleep_state" not in line)
    vllm.body = {"/is_sleeping": b'{"is_sleeping":true}'}
    assert await requested(session, vllm) == CompletionResult("Paused")
    assert vllm.requests["/v1/completions"] == 0
    vllm.body = {"/is_sleeping": b'{"is_sleeping":false}'}
    assert (await requested(session, vllm)).verdict == "Answered"


async def test_engine_that_shows_that_it_is_awake_is_not_asked(session: ReplicaSession, vllm: FakeVLLM) -> None:
    assert (await requested(session, vllm)).verdict == "Answered"
    assert vllm.requests["/is_sleeping"] == 0
