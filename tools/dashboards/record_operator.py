"""`python -m tools.dashboards.record_operator`: record the operator and kube-state-metrics on a real API server.

No node runs, so that replicas stay without a machine: the recording shows the status of servers in several phases, the
autoscaler and the operator. Those of vLLM are in the recordings of processes and of a cluster.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tools.dashboards.check import metrics_of, queries_of, results
from tools.dashboards.prometheus import running
from tools.dashboards.record_cluster import NAME, autoscaling, server
from tools.dashboards.recording import OPERATOR, Run, write
from tools.dashboards.scraped import OPERATOR_NAMESPACE, configuration, kube_state_metrics
from tools.harness.control_plane import control_plane
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import OperatorProcess
from tools.localcluster import settings
from tools.localcluster.report import say
from vllm_operator.api.crd import crd
from vllm_operator.api.names import KIND

PHASE_SECONDS = 120.0
CHANGE_SECONDS = 3.0
CHANGES = 24
"""Changes of a spec, one every few seconds: the operator then has work in the window of each rate."""

SERVERS: dict[str, Object] = {
    NAME: {"autoscaling": autoscaling(2, 4)},
    "idle": {"replicas": 0},
    "paused": {"paused": True},
    "invalid": {"engine": {"extraArgs": ["--no-such-flag"]}},
}
PHASES = {NAME: "Scheduling", "idle": "Idle", "paused": "Paused", "invalid": "Invalid"}


def main() -> int:
    """Record a run."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dashboards-")))
        plane = stack.enter_context(control_plane())
        kube = plane.kube()
        kube.apply(crd(), "--server-side")
        kube.wait_for_crds("vllmservers.vllm-operator.dev")
        namespace = stack.enter_context(kube.namespace("llm"))
        operator = OperatorProcess(plane.kubeconfig, folder / "operator.log", ["--server-metrics"])
        stack.callback(operator.stop)
        operator.start()
        state = stack.enter_context(kube_state_metrics(plane.kubeconfig, folder))
        operator.wait_ready()
        scraped = configuration(plane.kubeconfig, namespace, operator.port, state)
        found = stack.enter_context(running(folder, scraped))
        start = time.time()
        for name, spec in SERVERS.items():
            kube.apply(server(name, **spec), namespace=namespace)
        _wait(kube, namespace, lambda phases: phases.items() >= PHASES.items())
        for change in range(CHANGES):
            kube.patch(KIND, "idle", namespace, {"metadata": {"annotations": {"change": str(change)}}})
            kube.patch(KIND, NAME, namespace, {"spec": {"autoscaling": {"maxReplicas": 3 + change % 2}}})
            time.sleep(CHANGE_SECONDS)
        end = time.time()
        values = {"namespace": namespace, "server": NAME, "operator_namespace": OPERATOR_NAMESPACE}
        values["kube_state_metrics"] = settings.KUBE_STATE_METRICS
        origin = (
            f"the operator and kube-state-metrics {settings.KUBE_STATE_METRICS} on a Kubernetes {settings.KUBERNETES} "
            f"API server without nodes, with {len(SERVERS)} servers"
        )
        run = Run("", start, end, values, origin)
        OPERATOR.parent.mkdir(parents=True, exist_ok=True)
        samples = write(OPERATOR, run, found, metrics_of(queries_of(run)), end)
        answered = [result for result in results(found, run) if result.series]
        say(f"{origin}: {samples} samples, {len(answered)} queries with data; {OPERATOR}")
    return 0


def _wait(kube: Kube, namespace: str, reached: Callable[[dict[str, str]], bool]) -> None:
    def check() -> None:
        servers = kube.list(KIND, namespace)
        phases = {body["metadata"]["name"]: (body.get("status") or {}).get("phase", "") for body in servers}
        assert reached(phases), phases

    kube.eventually(check, within=PHASE_SECONDS, namespace=namespace)


if __name__ == "__main__":
    sys.exit(main())
