"""A rolling update of a real server under a batch of 1,000 requests: each is answered once. `make e2e-client`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from tests.e2e.conftest import LOADING_SECONDS, pods, wait_ready
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND
from tools.harness.real_cluster import RealCluster, cpu_server
from vllm_operator.client import AsyncVLLMClient, ClientConfig, CompletionResponse, RetryPolicy
from vllm_operator.client.batch import BatchRequest, run_batch

COUNT = 1000
PAUSE = 0.1
"""Seconds between two requests until the update is over, so that all of it falls into the batch."""
NAME = "rolling"


async def test_each_of_a_thousand_requests_is_answered_once(cluster: RealCluster, inside: InCluster) -> None:
    kube, namespace = inside.kube, inside.namespace
    rollout = {"maxSurge": 1, "maxUnavailable": 0, "drainTimeoutSeconds": 30}
    spec = {"model": {"uri": "file:///models/tiny"}, "rollout": rollout}
    kube.apply(cpu_server(cluster, NAME, spec), namespace=namespace)
    await asyncio.to_thread(wait_ready, inside, NAME)
    [former] = [pod["metadata"]["name"] for pod in pods(inside, NAME)]
    updated = asyncio.Event()
    sent: Counter[str] = Counter()
    under_way = 0

    async def requests() -> AsyncIterator[BatchRequest]:
        nonlocal under_way
        for number in range(COUNT):
            sent[f"q{number}"] += 1
            yield BatchRequest.chat(f"Question {number}", max_tokens=16, ignore_eos=True, custom_id=f"q{number}")
            if not updated.is_set():
                under_way += 1
                await asyncio.sleep(PAUSE)

    async def update() -> None:
        environment = [{"name": "ROLLED", "value": "1"}]
        patch = {"spec": {"engine": {"env": environment}}}
        await asyncio.to_thread(kube.patch, KIND, NAME, namespace, patch)
        await asyncio.to_thread(wait_ready, inside, NAME)
        deadline = asyncio.get_running_loop().time() + LOADING_SECONDS
        while former in [pod["metadata"]["name"] for pod in await asyncio.to_thread(kube.list, "Pod", namespace)]:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(1)
        updated.set()

    config = ClientConfig(retries=RetryPolicy(max_attempts=8))
    reference = f"{namespace}/{NAME}"
    async with await AsyncVLLMClient.for_server(reference, config, kubeconfig=kube.kubeconfig) as client:
        updating = asyncio.create_task(update())
        outcomes = await run_batch(client, requests(), 16)
        await updating
    failures = [outcome for outcome in outcomes if not isinstance(outcome, CompletionResponse)]
    repeated = sum(outcome.attempts > 1 for outcome in outcomes if isinstance(outcome, CompletionResponse))
    print(f"{under_way} requests before the end of the update, {repeated} needed another attempt")
    assert failures == []
    assert len(outcomes) == COUNT
    assert len({outcome.id for outcome in outcomes if isinstance(outcome, CompletionResponse)}) == COUNT
    assert set(sent.values()) == {1}
    assert [pod["metadata"]["name"] for pod in pods(inside, NAME)] != [former]
    await asyncio.to_thread(kube.kubectl, "-n", namespace, "delete", "vllmserver", NAME, "--timeout=90s")
