"""The client library on a real cluster: found by its VLLMServer, through a port-forward, with the key of its Secret."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.e2e.conftest import wait_ready
from tools.harness.in_cluster import InCluster
from tools.harness.real_cluster import RealCluster
from vllm_operator.client import (
    AsyncVLLMClient,
    AuthenticationFailed,
    ClientConfig,
    DiscoveryFailed,
    ModelNotFound,
    ModelNotReady,
    VLLMClient,
)
from vllm_operator.client.openai_sdk import openai_client

LONG = 400
"""Tokens of a request that is still running when it is cancelled; the context has 512."""


@pytest.fixture(scope="module")
def kubeconfig(cluster: RealCluster) -> Path:
    return cluster.kube.kubeconfig


@pytest.fixture(scope="module")
def client(inside: InCluster, gated: str, kubeconfig: Path) -> Iterator[VLLMClient]:
    wait_ready(inside, gated)
    with VLLMClient.for_server(f"{inside.namespace}/{gated}", kubeconfig=kubeconfig) as found:
        yield found


def metric(client: VLLMClient, text: str) -> float:
    """Return the sum of the series of the engine that hold a text."""
    with urllib.request.urlopen(f"{client.config.base_urls[0]}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if text in line and not line.startswith("#"))


def test_chat_tokenize_and_models_go_through_the_port_forward(client: VLLMClient) -> None:
    answer = client.chat("hello", max_tokens=5, temperature=0.0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert client.tokenize("hello world").count > 0
    assert client.version() == "0.32.0"
    assert client.models()[0].max_model_len == 512


def test_stream_has_its_usage_at_the_end(client: VLLMClient) -> None:
    with client.stream_chat("hello", max_tokens=16, ignore_eos=True) as stream:
        pieces = [delta for delta in stream if delta.content]
    assert stream.response.usage is not None
    assert stream.response.usage.completion_tokens == 16
    assert pieces


def test_cancellation_reaches_the_engine_through_the_port_forward(client: VLLMClient) -> None:
    completed = metric(client, 'finished_reason="length"')
    with client.stream_chat("hello", max_tokens=LONG, ignore_eos=True) as stream:
        next(iter(stream))
    deadline = time.monotonic() + 30
    while metric(client, "vllm:num_requests_running{"):
        assert time.monotonic() < deadline, "the engine goes on with the request"
        time.sleep(0.1)
    # vLLM 0.32 counts no aborted request, but it would count one that went on to its last token.
    assert metric(client, 'finished_reason="length"') == completed


def test_official_sdk_uses_the_forwarded_port(client: VLLMClient) -> None:
    key = client.config.api_key
    assert key is not None
    with openai.OpenAI(base_url=f"{client.config.base_urls[0]}/v1", api_key=key.get_secret_value()) as sdk:
        answer = sdk.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=4)
    assert answer.usage is not None
    with openai_client(client.config) as ours:
        stream = ours.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=4, stream=True
        )
        assert [chunk for chunk in stream if chunk.choices]


async def test_async_client_is_found_too(inside: InCluster, gated: str, kubeconfig: Path) -> None:
    reference = f"{inside.namespace}/{gated}"
    async with await AsyncVLLMClient.for_server(reference, kubeconfig=kubeconfig) as client:
        assert (await client.chat("hello", max_tokens=3, ignore_eos=True)).finish_reason == "length"


def test_errors_name_the_cause(client: VLLMClient, inside: InCluster, gated: str, kubeconfig: Path) -> None:
    with pytest.raises(ModelNotFound, match="mistral"):
        client.chat("hello", model="mistral")
    with pytest.raises(DiscoveryFailed, match=rf"did you mean .*{inside.namespace}/{gated}"):
        VLLMClient.for_server(f"{inside.namespace}/{gated}x", kubeconfig=kubeconfig)
    wrong = ClientConfig(api_key="wrong")  # type: ignore[arg-type]
    refused = VLLMClient.for_server(f"{inside.namespace}/{gated}", wrong, kubeconfig=kubeconfig)
    with refused, pytest.raises(AuthenticationFailed):
        refused.chat("hello", max_tokens=1)


def test_server_that_is_not_ready_shows_its_cause(inside: InCluster, kubeconfig: Path) -> None:
    spec = {"model": {"uri": "file:///models/tiny"}, "image": "localhost/no-such-image:1", "version": "0.32.0"}
    body = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "metadata": {"name": "broken"}}
    inside.kube.apply({**body, "spec": {**spec, "accelerator": {"resourceName": ""}}}, namespace=inside.namespace)
    try:

        def names_the_image() -> None:
            with pytest.raises(ModelNotReady, match="no-such-image"):
                VLLMClient.for_server(f"{inside.namespace}/broken", kubeconfig=kubeconfig)

        inside.kube.eventually(names_the_image, within=60, namespace=inside.namespace)
    finally:
        inside.kube.kubectl("-n", inside.namespace, "delete", "vllmserver", "broken", "--timeout=60s")
