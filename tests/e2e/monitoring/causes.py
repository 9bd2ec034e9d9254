"""The real causes of the alerts: each scenario begins with a separate server, or with the operator."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.e2e.monitoring.scenario import World
from tests.e2e.states import nodes
from tools.harness.load import Load, unshared
from tools.harness.rights import NAME, SYSTEM

SERVER_ALERTS = ("VLLMNoReplicaAvailable", "VLLMReplicaDown", "VLLMHighLatency", "VLLMErrorBudgetBurnSlow")
"""Alerts that may follow from what is done to a server, without being measured there."""


def pressed(world: World) -> None:
    """More requests than a small KV cache and a short queue can take."""
    world.apply(
        "pressed",
        {
            "engine": {
                "maxNumSeqs": 8,
                "extraArgs": ["--num-gpu-blocks-override=9", "--max-num-queued-reqs=8"],
            },
            "monitoring": {
                # Two to six requests wait, as the engine frees places.
                "alerts": {"queueLength": 2, "p99LatencySeconds": 1, "kvCacheUsage": 0.5},
                "slo": {"availability": {"objective": 0.999}},
            },
        },
    )
    address = world.ready_pod("pressed")["status"]["podIP"]
    labels = {"namespace": world.namespace, "vllmserver": "pressed"}
    world.expected += [{"alertname": name, **labels} for name in SERVER_ALERTS]
    load = load_at(address, answer_tokens=450)
    alerts = ("VLLMKVCacheNearlyFull", "VLLMHighLatency", "VLLMPreemptions")
    with load.from_clients(4):
        injury = world.measure("4 clients with long answers at a KV cache of 8 blocks", alerts, lambda: None, **labels)
        injury.heal(load.stop)


def flooded(world: World) -> None:
    """The same server under a flood, while its queue takes eight requests and answers 503 to all others."""
    world.kube.eventually(lambda: bool(world.pods("pressed")), within=120)
    address = world.ready_pod("pressed")["status"]["podIP"]
    labels = {"namespace": world.namespace, "vllmserver": "pressed"}
    load = load_at(address, answer_tokens=450, pause=lambda: 1.0)
    alerts = ("VLLMQueueBacklog", "VLLMHighErrorRate", "VLLMErrorBudgetBurnFast")
    with load.from_clients(20):
        injury = world.measure("20 more clients at a queue of 8, which answers 503", alerts, lambda: None, **labels)
        injury.heal(load.stop)


def frozen(world: World) -> None:
    """An engine process that is stopped while clients wait."""
    world.apply("frozen", {})
    pod = world.ready_pod("frozen")
    labels = {"namespace": world.namespace, "vllmserver": "frozen"}
    world.expected += [{"alertname": name, **labels} for name in SERVER_ALERTS]
    process = nodes.engine(pod)
    load = load_at(pod["status"]["podIP"], answer_tokens=200)
    try:
        with load.from_clients(3):
            time.sleep(20)
            injury = world.measure(
                "SIGSTOP of the engine under traffic",
                ("VLLMEngineStalled",),
                lambda: nodes.suspend(process),
                **labels,
            )
            injury.heal(lambda: nodes.resume(process))
    finally:
        nodes.resume(process)


def broken(world: World) -> None:
    """A replica that hangs in its start: its command is another program, which an administrator must allow."""
    world.kube.kubectl("label", "namespace", world.namespace, f"{FREE}=free", "--overwrite")
    world.apply(
        "broken",
        {
            "engine": {"command": ["python3", "-c", "import time; time.sleep(1e6)"]},
            "health": {"startupTimeoutSeconds": 30},
        },
    )
    labels = {"namespace": world.namespace, "vllmserver": "broken"}
    world.expected += [{"alertname": name, **labels} for name in SERVER_ALERTS]
    injury = world.measure(
        "a start that hangs, startupTimeoutSeconds: 30", ("VLLMReplicaDown",), lambda: None, **labels
    )
    # The rules stay: Alertmanager reports the end of an alert whose rule was deleted only after minutes.
    injury.heal(lambda: world.kube.patch("VLLMServer", "broken", world.namespace, {"spec": {"replicas": 0}}))


def gone(world: World) -> None:
    """The only replica is replaced by one that no node takes."""
    world.apply("gone", {"health": {"startupTimeoutSeconds": 300}})
    world.ready_pod("gone")
    labels = {"namespace": world.namespace, "vllmserver": "gone"}
    world.expected += [{"alertname": name, **labels} for name in SERVER_ALERTS]
    time.sleep(40)  # Prometheus has seen it serve.

    def select(node: str | None) -> None:
        scheduling = {"nodeSelector": {"kubernetes.io/hostname": node}}
        world.kube.patch("VLLMServer", "gone", world.namespace, {"spec": {"scheduling": scheduling}})

    cause = "a rollout to a node that is missing"
    injury = world.measure(cause, ("VLLMNoReplicaAvailable",), lambda: select("none"), **labels)
    injury.heal(lambda: select(None))


def operator(world: World) -> None:
    """The Deployment of the operator has no replicas. The causes about servers need it, and are there already."""
    _wait_for_operator(world)
    world.wait_for_the_others()
    labels = {"namespace": SYSTEM}
    world.expected += [{"alertname": name, **labels} for name in ("VLLMOperatorNoLeader", "VLLMOperatorApiErrors")]
    scale = ["-n", SYSTEM, "scale", f"deployment/{NAME}"]
    try:
        injury = world.measure(
            "the operator scaled to 0",
            ("VLLMOperatorDown",),
            lambda: world.kube.kubectl(*scale, "--replicas=0"),
            **labels,
        )
        injury.heal(lambda: world.kube.kubectl(*scale, "--replicas=1"))
    finally:
        world.kube.kubectl(*scale, "--replicas=1", check=False)


def leader(world: World) -> None:
    """The role that lets the operator hold its Lease is gone: no process can lead."""
    world.wait_for_the_end_of(operator)
    _wait_for_operator(world)
    world.wait_for_the_others()
    text = world.kube.kubectl("-n", SYSTEM, "get", "role", NAME, "-o", "yaml").stdout
    labels = {"namespace": SYSTEM}
    try:
        injury = world.measure(
            "the role for the Lease deleted",
            ("VLLMOperatorNoLeader",),
            lambda: world.kube.kubectl("-n", SYSTEM, "delete", "role", NAME),
            **labels,
        )
        injury.heal(lambda: _restore(world, text))
    finally:
        _restore(world, text)


def _restore(world: World, role: str) -> None:
    lines = [line for line in role.splitlines() if not line.lstrip().startswith(("resourceVersion:", "uid:"))]
    world.kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin="\n".join(lines), check=False)


def _wait_for_operator(world: World) -> None:
    """Wait until Prometheus has scraped a leader."""
    leader = f'vllm_operator_leader{{namespace="{SYSTEM}"}} == 1'
    world.wait(lambda: time.time() if world.prometheus.query(leader) else None, 180)


FREE = "vllm-operator.dev/pod-template"
"""Label of namespaces whose servers may run other commands."""


def load_at(address: str, answer_tokens: int = 50, pause: Callable[[], float] = lambda: 0.0) -> Load:
    """Return clients of a replica, with prompts that no cache has."""
    return Load(f"http://{address}:8000", "tiny", unshared(answer_tokens=answer_tokens), pause)


ALL = (pressed, flooded, frozen, gone, broken, operator, leader)

WITHOUT_SERVER = (flooded, operator, leader)
"""Scenarios that apply no server."""
