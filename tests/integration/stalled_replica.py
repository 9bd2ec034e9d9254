"""A replica whose engine is stalled, as the operator finds it when it starts."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from tests.integration.replica import FakeReplica, fake_replica
from tests.integration.servers import Servers
from tools.harness.kube import KIND, Kube, Object
from tools.harness.operator_process import OperatorProcess

STALLED_METRICS = '\nvllm:num_requests_running{engine="0"} 2.0\nvllm:generation_tokens_total{engine="0"} 7.0\n'
LONG_AGO = "2026-01-01T00:00:00Z"


def stalled_replica(address: str) -> AbstractContextManager[FakeReplica]:
    """Run a fake of a stalled replica at an address of the loopback interface: it answers all but completions."""
    return fake_replica(address, metrics=STALLED_METRICS, stalled=True)


def run_pod(kube: Kube, namespace: str, server: str, address: str) -> Object:
    """Give the server's pod an address and call it running and ready, as a kubelet would."""
    found = kube.eventually(
        lambda: kube.list("Pod", namespace, f"app.kubernetes.io/instance={server}") or False, within=20
    )
    give_address(kube, namespace, found[0], address)
    return found[0]


def give_address(kube: Kube, namespace: str, pod: Object, address: str) -> None:
    """Give a pod an address and call it running and ready."""
    state = {"running": {"startedAt": LONG_AGO}}
    container = {"name": "vllm", "image": "x", "imageID": "x", "ready": True, "restartCount": 0, "started": True}
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "ContainersReady", "Ready")],
        "containerStatuses": [{**container, "state": state}],
    }
    kube.patch("Pod", pod["metadata"]["name"], namespace, {"status": status}, status=True)


def restarted_for_a_stalled_engine(servers: Servers, process: OperatorProcess, name: str, address: str) -> Object:
    """Start the operator with a replica that the status reports as stalled, and wait until it has deleted the pod.

    The status says so since long ago, which spares the minute that a replica gets to go on by itself. What the operator
    then sees with its own eyes takes 20 s: the deadline of a completion.

    Returns:
        The VLLMServer afterwards.
    """
    servers.create(name, {"health": {"restartStalled": True, "probeIntervalSeconds": 1}})
    process.stop()
    try:
        pod = run_pod(servers.kube, servers.namespace, name, address)
        entry = {"pod": pod["metadata"]["name"], "phase": "Stalled", "reason": "EngineStalled", "since": LONG_AGO}
        patch = {"status": {"replicaStatuses": [{**entry, "message": "told before"}]}}
        servers.kube.patch(KIND, name, servers.namespace, patch, status=True)
        begun = time.monotonic()
    finally:
        process.start()
    process.wait_ready()

    def gone() -> None:
        found = servers.kube.get("Pod", pod["metadata"]["name"], servers.namespace)
        assert found is None or found["metadata"].get("deletionTimestamp")

    servers.kube.eventually(gone, within=90, namespace=servers.namespace)
    assert time.monotonic() - begun >= 20, "deleted before the engine was asked"
    return servers.get(name)
