"""The agent and Envoy without an operator, and an operator without gateways, on a real API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import aiohttp
import pytest

from tests.gateway.requests import post
from tests.gateway.test_api_server import GatewayWithAgent, gateway_body, socket_of
from tests.helpers.alone import plane_or_skip
from tests.integration.replica import fake_replica
from tools.harness.control_plane import Plane
from tools.harness.kube import KIND, Kube, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.crd import crd
from vllm_operator.api.gateway_crd import gateway_crd
from vllm_operator.api.names import API_VERSION, recommended_labels
from vllm_operator.gateway.envoy import clusters
from vllm_operator.gateway.observe import SERVICE_LABEL

REPLICAS = ("127.66.41.1", "127.66.41.2")
LEAVE_SECONDS = 2.0
"""Longest time from the status to Envoy; it took 0.1 s."""
ABSENT_SECONDS = 20.0
"""Longer than the pause after which the operator looks for the missing CRD again."""


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with plane_or_skip() as running:
        yield running


@pytest.fixture(scope="module")
def kube(plane: Plane) -> Kube:
    kube = plane.kube()
    kube.apply(crd(), "--server-side")
    kube.wait_for_crds("vllmservers.vllm-operator.dev")
    return kube


def server(name: str) -> Object:
    spec = {"model": {"uri": f"hf://tiny-org/{name}"}, "accelerator": {"resourceName": ""}}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def test_an_operator_without_the_crd_of_gateways_serves_and_says_so_once(plane: Plane, kube: Kube) -> None:
    arguments = ["--gateway-agent-image", "operator:test", "--no-leader-elect"]
    process = OperatorProcess(plane.kubeconfig, plane.folder / "logs" / "without-gateways.log", arguments)
    process.start()
    try:
        process.wait_ready()
        with kube.namespace("plain") as namespace:
            kube.apply(server("tiny"), namespace=namespace)
            kube.eventually(lambda: bool(kube.list("Deployment", namespace)), within=20, namespace=namespace)
        time.sleep(ABSENT_SECONDS)
        assert process.answers("/healthz")
        lines = [line for line in process.log.read_text().splitlines() if "vllmgateways" in line]
        assert len(lines) == 1, lines
        assert "not served: is its CRD installed?" in lines[0]
    finally:
        process.stop()


def slice_of(name: str, *, terminating: str = "") -> Object:
    """An EndpointSlice; the API server takes no loopback address, so 10.66.41.1 stands for 127.66.41.1."""
    endpoints = [
        {
            "addresses": [address.replace("127.", "10.", 1)],
            "conditions": {"ready": address != terminating, "terminating": address == terminating},
            "targetRef": {"kind": "Pod", "name": f"pod-{address}"},
        }
        for address in REPLICAS
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {**recommended_labels(name), SERVICE_LABEL: name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


def set_phase(kube: Kube, namespace: str, phase: str) -> None:
    """Let the status name a phase of the first replica."""
    replicas = [
        {"pod": f"pod-{address}", "phase": phase if number == 0 else "Serving", "since": "2026-01-01T00:00:00Z"}
        for number, address in enumerate(REPLICAS)
    ]
    status = {"replicaStatuses": replicas, "servedModels": ["tiny"]}
    kube.patch(KIND, "tiny", namespace, {"status": status}, status=True)


async def used_endpoints(gateway: GatewayWithAgent) -> int:
    """The replicas that Envoy itself has in its list."""
    lines = (await gateway.admin("/clusters")).splitlines()
    return sum(line.startswith("tiny.PrefixAware::127.") and "::health_flags::" in line for line in lines)


async def seconds_until(gateway: GatewayWithAgent, count: int) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        while await used_endpoints(gateway) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_stalled_draining_and_ending_replicas_leave_at_once(
    plane: Plane, kube: Kube, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.apply(gateway_crd(), "--server-side")
    kube.wait_for_crds("vllmgateways.vllm-operator.dev")
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.setattr(
        clusters, "_socket", lambda one: socket_of(replace(one, address=one.address.replace("10.", "127.", 1)))
    )
    with (
        kube.namespace("leaving") as namespace,
        fake_replica(REPLICAS[0]) as first,
        fake_replica(REPLICAS[1]) as second,
    ):
        kube.apply(server("tiny"), namespace=namespace)
        kube.apply(slice_of("tiny"), namespace=namespace)
        set_phase(kube, namespace, "Serving")
        kube.apply(gateway_body("chat"), namespace=namespace)
        async with GatewayWithAgent(namespace, "chat") as gateway:
            await seconds_until(gateway, 2)
            for phase in ("Stalled", "Draining"):
                await asyncio.to_thread(set_phase, kube, namespace, phase)
                took = await seconds_until(gateway, 1)
                print(f"{phase}: {took:.2f} s")
                assert took < LEAVE_SECONDS
                before = len(first.completions), len(second.completions)
                for number in range(10):
                    body = {"model": "tiny", "messages": [{"role": "user", "content": f"{number}"}]}
                    assert (await post(session, gateway, body)).status == 200
                assert (len(first.completions), len(second.completions)) == (before[0], before[1] + 10)
                await asyncio.to_thread(set_phase, kube, namespace, "Serving")
                await seconds_until(gateway, 2)
            ending = slice_of("tiny", terminating=REPLICAS[0])
            await asyncio.to_thread(kube.apply, ending, namespace=namespace)
            assert await seconds_until(gateway, 1) < LEAVE_SECONDS
