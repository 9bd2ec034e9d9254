"""One token asked of a stand-in replica; real vLLM: `tests/stalled_engine`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from tests.helpers.fake_vllm import FakeVLLM
from vllm_operator.probing.http import ProbeError, ReplicaEndpoint
from vllm_operator.probing.synthetic_completion import RANK_HEADER, CompletionFinding, CompletionRequest, ask, look

FROZEN = "/health answers 200, but a one-token completion got no answer within 1 s and no counter of the engine moved"


async def question(client: aiohttp.ClientSession, vllm: FakeVLLM) -> CompletionRequest:
    """A question of which the replica knows nothing yet."""
    replica = ReplicaEndpoint(client, vllm.url, timeout=2)
    pulse = await look(replica)
    assert pulse is not None
    return CompletionRequest(replica, "mistral-7b", pulse, None, deadline=1.0, poll=0.2)


async def asked(client: aiohttp.ClientSession, vllm: FakeVLLM) -> CompletionFinding:
    return await ask(await question(client, vllm))


async def test_engine_that_answers_lives_and_was_asked_for_one_token(
    client: aiohttp.ClientSession, vllm: FakeVLLM
) -> None:
    finding = await asked(client, vllm)
    assert finding.verdict == "Answered"
    assert finding.pulse is not None
    assert vllm.completed == [{"model": "mistral-7b", "prompt": "Hi", "max_tokens": 1, "temperature": 0}]


async def test_frozen_engine_is_stalled(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.frozen, vllm.held = True, 8
    finding = await asked(client, vllm)
    assert (finding.verdict, finding.words) == ("Stalled", FROZEN)


async def test_completion_that_is_given_up_is_taken_back(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.frozen = True
    await asked(client, vllm)
    async with asyncio.timeout(5):
        while vllm.hanging:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert vllm.given_up == 1
    vllm.frozen = False
    assert vllm.completed == []


async def test_busy_engine_is_not_stalled_and_loses_the_completion_at_once(
    client: aiohttp.ClientSession, vllm: FakeVLLM
) -> None:
    vllm.busy, vllm.held = True, 8
    finding = await ask(replace(await question(client, vllm), deadline=60.0))
    assert finding.verdict == "Moving"
    async with asyncio.timeout(5):
        while vllm.hanging:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert vllm.given_up == 1


async def test_engine_that_goes_on_before_the_deadline_answers(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.frozen = True
    asking = asyncio.create_task(ask(replace(await question(client, vllm), deadline=60.0)))
    await asyncio.sleep(0.3)
    vllm.frozen = False
    assert (await asking).verdict in {"Answered", "Moving"}


async def test_network_that_is_cut_is_no_frozen_engine(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.frozen = True
    asking = asyncio.create_task(ask(replace(await question(client, vllm), deadline=8.0)))
    await asyncio.sleep(0.3)
    vllm.delay = 60  # nothing comes back any more, not even from the API server
    assert (await asking).verdict == "Unclear"


async def test_process_that_is_gone_is_no_frozen_engine(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    asking = await question(client, vllm)
    await vllm.stop()
    assert (await ask(asking)).verdict == "Unclear"


async def test_model_that_only_embeds_is_asked_for_an_embedding(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.takes = {"embeddings"}
    assert (await asked(client, vllm)).verdict == "Answered"
    assert vllm.completed == [{"model": "mistral-7b", "input": "Hi"}]


async def test_frozen_model_that_only_embeds_is_stalled(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.takes, vllm.frozen = {"embeddings"}, True
    assert (await asked(client, vllm)).verdict == "Stalled"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_refusal_is_no_stall(client: aiohttp.ClientSession, vllm: FakeVLLM, status: int) -> None:
    vllm.status = {"/v1/completions": status, "/v1/embeddings": status}
    assert (await asked(client, vllm)).verdict == "Refused"


async def test_error_of_the_server_is_no_stall(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.status = {"/v1/completions": 500}
    assert (await asked(client, vllm)).verdict == "Unclear"


@pytest.mark.parametrize(("busy", "verdict"), [(False, "Stalled"), (True, "Moving")])
async def test_full_queue_is_judged_by_the_numbers(
    client: aiohttp.ClientSession, vllm: FakeVLLM, busy: bool, verdict: str
) -> None:
    vllm.status, vllm.busy, vllm.held = {"/v1/completions": 503}, busy, 8
    finding = await asked(client, vllm)
    assert finding.verdict == verdict
    assert ("was turned away with 503" in finding.words) == (not busy)


async def test_idle_engine_before_which_somebody_turns_requests_away_is_not_judged(
    client: aiohttp.ClientSession, vllm: FakeVLLM
) -> None:
    vllm.status, vllm.held = {"/v1/completions": 429}, 0
    assert (await asked(client, vllm)).verdict == "Unclear"


async def test_server_without_numbers_cannot_be_judged(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.frozen = True
    asking = await question(client, vllm)
    vllm.metrics = "python_info 1.0\n"
    assert (await ask(asking)).verdict == "Unclear"


async def test_suspected_engine_of_several_is_the_one_that_is_asked(
    client: aiohttp.ClientSession, vllm: FakeVLLM
) -> None:
    await ask(replace(await question(client, vllm), engine="3"))
    assert [headers[RANK_HEADER] for headers in vllm.headers_of_completions] == ["3"]


async def test_completion_carries_the_key_and_looks_do_not(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.api_key = "s3cret"
    assert (await asked(client, vllm)).verdict == "Refused"
    keyed = replace(await question(client, vllm), headers={"authorization": "Bearer s3cret"})
    assert (await ask(keyed)).verdict == "Answered"
    assert "s3cret" not in repr(keyed)
    assert {path for path, key in vllm.authorizations if key} == {"/v1/completions"}


async def test_look_at_a_silent_server_fails(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    vllm.delay = 60
    with pytest.raises(ProbeError):
        await look(ReplicaEndpoint(client, vllm.url, timeout=0.1))


async def test_answer_that_comes_during_the_last_look_counts(client: aiohttp.ClientSession, vllm: FakeVLLM) -> None:
    """The deadline passes while the numbers are looked at, and the completion has just been answered."""
    asking = replace(await question(client, vllm), deadline=0.0, poll=0.0)
    vllm.slow, vllm.status = {"/metrics": 0.5}, {"/v1/completions": 500}
    assert (await ask(asking)).verdict == "Unclear"
