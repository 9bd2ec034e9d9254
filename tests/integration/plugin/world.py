"""Servers in each state, with pods whose status is written as a kubelet would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.helpers.paths import DATA
from tests.helpers.plugin import Ended
from tests.helpers.record_plugin import recording
from tests.integration.replica import fake_replica
from tests.integration.servers import Servers
from tools.harness.kube import Object

ADDRESS = "127.8.9.9"
LONG_AGO = "2026-01-01T00:00:00Z"
BUSY = 'vllm:num_requests_running{engine="0"} 3.0\nvllm:kv_cache_usage_perc{engine="0"} 0.25\n'
LOG = (DATA / "logs" / "context-too-long.log").read_text()
"""The log of a real vLLM; the kubelet takes its end as the message of the container that ended."""

Run = Callable[..., Ended]


def play(servers: Servers, name: str, status: Object) -> None:
    """Write the status of a server's pods as a kubelet would."""

    def pods() -> list[Object]:
        found = servers.kube.list("Pod", servers.namespace, f"app.kubernetes.io/instance={name}")
        assert len(found) == servers.child("Deployment", name)["spec"]["replicas"]
        return found

    for pod in servers.kube.eventually(pods, within=20, namespace=servers.namespace):
        servers.kube.patch("Pod", pod["metadata"]["name"], servers.namespace, {"status": status}, status=True)


def running(ready: bool, container: Object) -> Object:
    """The status of a pod on a node."""
    kinds = {"PodScheduled": True, "ContainersReady": ready, "Ready": ready}
    base = {"name": "vllm", "image": "x", "imageID": "x", "ready": ready, "started": ready, "restartCount": 0}
    return {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "conditions": [{"type": kind, "status": str(holds)} for kind, holds in kinds.items()],
        "containerStatuses": [{**base, **container}],
    }


CRASHED = running(
    False,
    {
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {
            "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "message": LOG[-2000:],
                "startedAt": LONG_AGO,
                "finishedAt": LONG_AGO,
            }
        },
    },
)


@contextmanager
def servers_in_each_state(servers: Servers) -> Iterator[None]:
    """Servers in each state: serving, crashed, refused, with an autoscaler that has no metrics, hostile."""
    with fake_replica(ADDRESS, metrics=BUSY), recording(servers.namespace):
        servers.create("mistral", {"model": {"uri": "hf://tiny-org/tiny", "servedNames": ["tiny"]}, "replicas": 2})
        servers.create("crashed")
        servers.create("scaled", {"autoscaling": {"maxReplicas": 3}})
        servers.create("refused", {"engine": {"extraArgs": ["--max-model-length=3"]}})
        play(servers, "mistral", running(True, {"state": {"running": {"startedAt": LONG_AGO}}}))
        play(servers, "crashed", CRASHED)
        phases = {"mistral": "Serving", "crashed": "Failed", "refused": "Invalid"}

        def settled() -> None:
            assert {name: servers.get(name)["status"]["phase"] for name in phases} == phases
            assert "maxModelLen" in servers.get("crashed")["status"]["message"]

        servers.kube.eventually(settled, within=60, namespace=servers.namespace)
        yield
