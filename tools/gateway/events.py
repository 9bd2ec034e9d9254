"""The events of `make e2e-gateway`: changes of the servers, of the gateway, and of what stands behind both."""

from __future__ import annotations

import os
import signal
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tools.drain import events as of_servers
from tools.drain.load import Load
from tools.drain.scaling import AUTOSCALER_SECONDS
from tools.drain.stage import IDLE_SECONDS, NAME, Scaling, is_ready
from tools.gateway.stage import FIRST_KEY, GATEWAY, SELECTOR, GatewayStage, processes_of
from tools.gateway.waking import status_of, wake_by_requests
from tools.harness.kube import Object
from tools.harness.real_cluster import tool
from tools.harness.rights import SYSTEM
from tools.localcluster.backends.local import LocalCluster
from vllm_operator.api.names import GATEWAY_KIND, KIND

SECOND_KEY = "sk-second-key-of-the-tests"
CHANGES = 100
CHANGE_SECONDS = 0.25
"""Pause between two changes of the configuration: the agent merges only what comes within 0.02 s."""
SECRET_SECONDS = 150.0
"""The kubelet copies a changed Secret into pods within a minute and a half."""
STALL_SECONDS = 300.0
OUTAGE_SECONDS = 15.0
"""Time without API server, or until a killed program must have come back."""
NODE_SECONDS = 300


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        name: its name in the table.
        replicas: replicas of the server before it.
        act: makes it happen, and returns when it is over.
        cuts: requests inside a replica that ends without a word are lost with it. Those that begin later are not.
        only_local: it needs the processes of the nodes on this machine.
        idle: it sends its own requests; no load runs.
    """

    name: str
    replicas: int
    act: Callable[[GatewayStage, Load], None]
    cuts: bool = False
    only_local: bool = False
    idle: bool = False


def pod_killed(stage: GatewayStage, load: Load) -> None:
    """Kill every process of one replica at once; what runs inside it is lost with it."""
    pod = _some_pod(stage)
    stage.notes["inside"] = _running(stage, pod)
    stage.notes["second until which it took requests"] = round(load.elapsed(), 1)
    for pid in processes_of(pod, ""):
        os.kill(pid, signal.SIGKILL)
    time.sleep(OUTAGE_SECONDS)
    stage.settle(2)


def engine_frozen(stage: GatewayStage, load: Load) -> None:
    """Suspend the engine of one replica; the operator takes it out of use, and replaces it."""
    pod = _some_pod(stage)
    name = pod["metadata"]["name"]
    [engine] = processes_of(pod, "VLLM::EngineCore")
    stage.kube.patch(KIND, NAME, stage.namespace, {"spec": {"health": {"restartStalled": True}}})
    os.kill(engine, signal.SIGSTOP)
    began = load.elapsed()
    stage.until(lambda: _phase(stage, name) in {"Stalled", None}, STALL_SECONDS)
    ended = load.elapsed()
    stage.notes["seconds until it got no more requests"] = round(ended - began, 1)
    stage.notes["second until which it took requests"] = round(ended, 1)
    stage.until(lambda: name not in stage.names(), STALL_SECONDS)
    stage.gone({name})
    stage.settle(2)


def gateway_rolling_update(stage: GatewayStage, _: Load) -> None:
    """Replace every pod of the gateway."""
    before = stage.gateway_names()
    stage.changes += 1
    stage.change_gateway({"agentResources": {"requests": {"cpu": f"{50 + stage.changes}m"}}})
    stage.until(lambda: not before & stage.gateway_names(), STALL_SECONDS)
    stage.settle_gateway(2)


def gateway_scaled(stage: GatewayStage, _: Load) -> None:
    """Scale the gateway up and down."""
    for replicas in (3, 1, 2):
        stage.change_gateway({"replicas": replicas})
        stage.settle_gateway(replicas)
        time.sleep(5)


def gateway_drained(stage: GatewayStage, _: Load) -> None:
    """Evict the gateway's pods of a node, as `kubectl drain` does before an upgrade."""
    pod = max(stage.gateway_pods(), key=lambda one: one["spec"].get("nodeName", ""))
    node = pod["spec"]["nodeName"]
    before = {one["metadata"]["name"] for one in stage.gateway_pods() if one["spec"].get("nodeName") == node}
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={NODE_SECONDS}s")
    try:
        stage.kube.kubectl("drain", node, *options, f"--pod-selector={SELECTOR}", timeout=NODE_SECONDS + 30)
        stage.until(lambda: not before & stage.gateway_names(), STALL_SECONDS)
        stage.settle_gateway(2)
    finally:
        stage.kube.kubectl("uncordon", node)


def configuration_changed(stage: GatewayStage, _: Load) -> None:
    """Change the spec of the gateway a hundred times."""
    restored = {"routing": None, "limits": None, "audit": None, "models": None, "cors": None}
    for number in range(CHANGES):
        extra = {"name": f"extra-{number}", "servers": [{"name": NAME}]}
        changes: list[Object] = [
            {"routing": "LeastRequest" if number % 2 else "PrefixAware"},
            {"limits": [{"key": "*", "requestsPerMinute": 100_000 + number}]},
            {"audit": {} if number % 2 else None},
            {"models": [extra]},
            {"cors": {"allowOrigins": [f"https://{number}.example.com"]}},
        ]
        stage.change_gateway(changes[number % len(changes)])
        time.sleep(CHANGE_SECONDS)
    stage.change_gateway(restored)
    stage.settle_gateway(2)


def secrets_rotated(stage: GatewayStage, load: Load) -> None:
    """Replace the certificate, and the key of the clients by way of a time in which both count."""
    host = stage.url().removeprefix("https://")
    before = ssl.get_server_certificate((host, 443))
    stage.set_certificate("second")
    stage.set_keys(first=FIRST_KEY, second=SECOND_KEY)
    stage.until(lambda: _accepts(stage, SECOND_KEY), SECRET_SECONDS)
    load.key = SECOND_KEY
    began = time.monotonic()
    stage.until(lambda: ssl.get_server_certificate((host, 443)) != before, SECRET_SECONDS)
    stage.notes["seconds until the new certificate"] = round(time.monotonic() - began, 1)
    stage.set_keys(second=SECOND_KEY)
    stage.until(lambda: not _accepts(stage, FIRST_KEY), SECRET_SECONDS)
    time.sleep(OUTAGE_SECONDS)
    # The other events begin with the first key.
    stage.set_keys(first=FIRST_KEY, second=SECOND_KEY)
    stage.until(lambda: _accepts(stage, FIRST_KEY), SECRET_SECONDS)


def operator_killed(stage: GatewayStage, _: Load) -> None:
    """Delete the operator's pod without a grace period."""
    stage.kube.kubectl("-n", SYSTEM, "delete", "pods", "--all", "--force", "--grace-period=0")
    time.sleep(OUTAGE_SECONDS)


def agent_killed(stage: GatewayStage, _: Load) -> None:
    """Kill the agent of every pod of the gateway."""
    for pod in stage.gateway_pods():
        for pid in processes_of(pod, "gateway-agent"):
            os.kill(pid, signal.SIGKILL)
    time.sleep(OUTAGE_SECONDS)
    stage.settle_gateway(2)


def api_server_killed(stage: GatewayStage, _: Load) -> None:
    """Kill the API server, and start it again."""
    LocalCluster().processes.stop(["kube-apiserver"])
    time.sleep(OUTAGE_SECONDS)
    tool("up")
    stage.settle_gateway(2)


def from_zero(stage: GatewayStage, _: Load) -> None:
    """Let the server sleep, and send 60 requests that wait for it."""
    stage.autoscale(Scaling(0, 2, target=50))
    stage.until(lambda: not stage.names(stopping=True), AUTOSCALER_SECONDS + IDLE_SECONDS)
    try:
        woken = wake_by_requests(stage.url(), FIRST_KEY)
    finally:
        stage.autoscale(Scaling(1, 2, target=50))
    stage.notes |= {
        "requests": woken.requests,
        "served": woken.served,
        "seconds to the first token": round(woken.first_token, 1),
        "seconds to the last token": round(woken.last_token, 1),
    }
    assert woken.served == woken.requests, woken.causes


def _some_pod(stage: GatewayStage) -> Object:
    """Return the serving pod with the most requests inside."""
    return max((pod for pod in stage.pods() if is_ready(pod)), key=lambda pod: _running(stage, pod))


def _running(stage: GatewayStage, pod: Object) -> int:
    """Return the requests inside a replica, by its own gauges."""
    path = f"/api/v1/namespaces/{stage.namespace}/pods/{pod['metadata']['name']}:8000/proxy/metrics"
    text = stage.kube.kubectl("get", "--raw", path).stdout
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    return int(sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(names)))


def _phase(stage: GatewayStage, pod: str) -> str | None:
    server = stage.kube.must_get(KIND, NAME, stage.namespace)
    found: Iterable[Object] = (server.get("status") or {}).get("replicaStatuses") or ()
    return next((one["phase"] for one in found if one["pod"] == pod), None)


def _accepts(stage: GatewayStage, key: str) -> bool:
    """Return whether every pod of the gateway answers to a key alike, and accepts it."""
    addresses = [pod["status"]["podIP"] for pod in stage.gateway_pods()]
    return all(status_of(f"https://{address}:8080/v1/models", key) == 200 for address in addresses)


def status(stage: GatewayStage) -> Object:
    """Return the status of the gateway."""
    found: Object = stage.kube.must_get(GATEWAY_KIND, GATEWAY, stage.namespace).get("status") or {}
    return found


EVENTS = (
    Event("configuration changed 100 times", 1, configuration_changed),
    Event("rolling update of the gateway", 1, gateway_rolling_update),
    Event("gateway scaled 2, 3, 1, 2", 1, gateway_scaled),
    Event("node drain of the gateway", 1, gateway_drained),
    Event("certificate and keys rotated", 1, secrets_rotated),
    Event("operator killed", 1, operator_killed),
    Event("agents killed", 1, agent_killed, only_local=True),
    Event("API server killed", 1, api_server_killed, only_local=True),
    Event("pod killed", 2, pod_killed, cuts=True, only_local=True),
    Event("engine frozen", 2, engine_frozen, cuts=True, only_local=True),
    Event("rolling update of the server", 2, of_servers.rolling_update),
    Event("scale-down of the server", 2, of_servers.scale_down),
    Event("from zero", 1, from_zero, idle=True),
    Event("node drain", 2, of_servers.drained_node),
)
"""In an order that starts few replicas."""
