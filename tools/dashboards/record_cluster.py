"""`python -m tools.dashboards.record_cluster`: record a server on the real cluster under load, with a scale event.

A real Prometheus finds and scrapes the real replicas, the real operator and the real kube-state-metrics. The autoscaler
takes the server from one replica to two and back, since its bounds change. The run fails when a query returns nothing.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.dashboards.check import metrics_of, queries_of, results
from tools.dashboards.prometheus import Prometheus, running
from tools.dashboards.recording import CLUSTER, Run, write
from tools.dashboards.scraped import OPERATOR_NAMESPACE, configuration, kube_state_metrics
from tools.harness.kube import Kube, Object, condition
from tools.harness.load import Load
from tools.harness.operator_process import OperatorProcess
from tools.harness.real_cluster import tool
from tools.localcluster import settings
from tools.localcluster.report import say, step
from vllm_operator.api.crd import crd
from vllm_operator.api.names import API_VERSION, KIND

NAME, BROKEN, MODEL = "mistral", "broken", "tiny"
CLIENTS = 12
SEQUENCES = 6
READY_SECONDS = 240.0
ALONE_SECONDS = 45.0
"""Load on one replica, before the second one starts."""
TOGETHER_SECONDS = 75.0
"""Load on both: longer than the window of rates."""
AFTER_SECONDS = 45.0


class IncompleteError(Exception):
    """Queries returned nothing; the message names them."""


@dataclass(frozen=True)
class Scene:
    """The cluster, with what is scraped."""

    kube: Kube
    namespace: str
    prometheus: Prometheus


def server(name: str, **spec: Any) -> Object:
    """Return a VLLMServer of the tiny model."""
    small = {
        "image": settings.VLLM_IMAGE,
        "model": {"uri": f"file:///models/{MODEL}"},
        "engine": {"maxModelLen": 512, "enforceEager": True, "maxNumSeqs": SEQUENCES},
        "accelerator": {"resourceName": ""},
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
        "sharedMemory": "256Mi",
        "rollout": {"drainTimeoutSeconds": 30},
    }
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": {**small, **spec}}


def autoscaling(fewest: int, most: int) -> Object:
    """Return an autoscaler; its controller keeps the bounds also while it has no metrics."""
    return {"minReplicas": fewest, "maxReplicas": most, "targetRunningRequests": 4}


def main() -> int:
    """Record a run; return 1 when a query returned nothing."""
    with scene() as found:
        try:
            record(found)
        except IncompleteError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def record(found: Scene) -> None:
    """Play the run, check each query, and write the recording.

    Raises:
        IncompleteError: a query returned nothing.
    """
    kube, start = found.kube, time.time()
    kube.apply(server(BROKEN, image="localhost/missing:1"), namespace=found.namespace)
    kube.apply(server(NAME, autoscaling=autoscaling(1, 2)), namespace=found.namespace)
    _wait(found, "the first replica", lambda: _serving(found) == 1)
    service = kube.must_get("Service", NAME, found.namespace)["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
    with Load(url, MODEL).from_clients(CLIENTS) as load:
        time.sleep(ALONE_SECONDS)
        _scale(found, autoscaling(2, 2))
        _wait(found, "the second replica", lambda: _serving(found) == 2)
        time.sleep(TOGETHER_SECONDS)
        end = time.time()
        _scale(found, autoscaling(1, 1))
        time.sleep(AFTER_SECONDS)
    values = {"namespace": found.namespace, "server": NAME, "operator_namespace": OPERATOR_NAMESPACE}
    values["kube_state_metrics"] = settings.KUBE_STATE_METRICS
    origin = (
        f"vLLM {settings.VLLM} on CPUs in a cluster, with one replica, then two, then one; {CLIENTS} clients, "
        f"{load.total} requests; operator and kube-state-metrics {settings.KUBE_STATE_METRICS}"
    )
    run = Run(settings.VLLM, start, end, values, origin)
    CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    samples = write(CLUSTER, run, found.prometheus, metrics_of(queries_of(run)), time.time())
    say(f"{origin}: {samples} samples; answers {sorted(load.counts)}")
    empty = [one.query for one in results(found.prometheus, run) if not one.series]
    if empty:
        raise IncompleteError("\n".join(f"{one.dashboard.title}: {one.panel.title}: {one.expr}" for one in empty))


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """Bring up the cluster, the operator, kube-state-metrics and Prometheus; remove what was not there."""
    was_up = settings.folders().kubeconfig.exists()
    kubeconfig = Path(tool("up").rpartition("KUBECONFIG=")[2])
    kube = Kube(kubeconfig, Path(tool("tool", "kubectl")))
    try:
        tool("vllm-image")
        kube.apply(crd(), "--server-side")
        kube.wait_for_crds("vllmservers.vllm-operator.dev")
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dashboards-")))
            namespace = stack.enter_context(kube.namespace("llm"))
            operator = OperatorProcess(kubeconfig, folder / "operator.log", ["--server-metrics"])
            stack.callback(operator.stop)
            operator.start()
            state = stack.enter_context(kube_state_metrics(kubeconfig, folder))
            operator.wait_ready()
            scraped = configuration(kubeconfig, namespace, operator.port, state)
            prometheus = stack.enter_context(running(folder, scraped))
            stack.callback(
                kube.kubectl, "-n", namespace, "delete", "vllmservers", "--all", "--timeout=60s", check=False
            )
            yield Scene(kube, namespace, prometheus)
    finally:
        if not was_up:
            tool("down")


def _serving(found: Scene) -> int:
    body = found.kube.must_get(KIND, NAME, found.namespace)
    status = body.get("status") or {}
    is_current = status.get("observedGeneration") == body["metadata"]["generation"]
    is_ready = condition(body, "Ready").get("status") == "True"
    return int(status.get("healthyReplicas") or 0) if is_current and is_ready else 0


def _scale(found: Scene, scaling: Object) -> None:
    found.kube.patch(KIND, NAME, found.namespace, {"spec": {"autoscaling": scaling}})


def _wait(found: Scene, what: str, reached: Callable[[], bool]) -> None:
    def check() -> None:
        assert reached(), found.kube.must_get(KIND, NAME, found.namespace).get("status")

    with step(f"{what} serves", announce=True):
        found.kube.eventually(check, within=READY_SECONDS, namespace=found.namespace)


if __name__ == "__main__":
    sys.exit(main())
