"""The server under load, and the questions that the events ask of the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tools.drain.pace import PACE_ARGUMENTS, PACE_FOLDER, PACE_MOUNT, PACE_VOLUME, pace_config_map
from tools.harness.kube import Kube, Object, condition
from tools.harness.real_cluster import RealCluster, cpu_server
from vllm_operator.api.names import KIND

READY_SECONDS = 420.0
"""Longest start of all replicas while the cores are busy; 40 s for one replica on idle ones."""

GONE_SECONDS = 300.0
IDLE_SECONDS = 30
"""The shortest `idleSeconds`."""

DRAIN_TIMEOUT_SECONDS = 240
"""Longer than any request here, so that each lost one is a fault."""
NAME = "drained"
MODEL_LENGTH = 2048
"""The context of the tiny model: enough for an answer of a minute."""
SELECTOR = f"app.kubernetes.io/instance={NAME}"

ENVIRONMENT: list[Object] = [{"name": "OMP_NUM_THREADS", "value": "1"}, {"name": "PYTHONPATH", "value": PACE_FOLDER}]
"""One thread for a tiny model: several wait for each other in loops, and take the cores from replicas that start."""


@dataclass(frozen=True)
class Scaling:
    """An autoscaler: fewest and most replicas, and the requests of one replica that it aims at."""

    fewest: int
    most: int
    target: int


SCALING_BEHAVIOR = {
    "scaleDown": {
        "stabilizationWindowSeconds": 30,
        "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}],
    }
}
"""Down after 30 s, so that a wave of minutes shows both directions."""


@dataclass
class Stage:
    """A namespace with one workload of replicas.

    Attributes:
        changes: number of the changes of its pods so far; each is another value of a variable.
    """

    cluster: RealCluster
    namespace: str
    changes: int = 0

    @property
    def kube(self) -> Kube:
        """The cluster of the stage."""
        return self.cluster.kube

    def url(self) -> str:
        """Return the URL of the Service at its cluster address, which the node's proxy distributes."""
        return f"http://{self.kube.must_get('Service', NAME, self.namespace)['spec']['clusterIP']}"

    def environment(self) -> list[Object]:
        """Return the variables of the pods after the changes so far."""
        return [*ENVIRONMENT, {"name": "CHANGE", "value": str(self.changes)}]

    def pods(self) -> list[Object]:
        """Return the pods of the workload, also those that stop."""
        return self.kube.list("Pod", self.namespace, SELECTOR)

    def names(self, *, stopping: bool = False) -> set[str]:
        """Return the names of the pods that do not stop; with `stopping`, of all."""
        return {
            pod["metadata"]["name"] for pod in self.pods() if stopping or not pod["metadata"].get("deletionTimestamp")
        }

    def until(self, check: Callable[[], bool], within: float) -> None:
        """Wait until a check holds.

        Raises:
            AssertionError: it does not hold in time; with a report of the namespace.
        """
        deadline = time.monotonic() + within
        while not _holds(check):
            if time.monotonic() > deadline:
                raise AssertionError(self.kube.report(self.namespace))
            time.sleep(0.5)

    def settle(self, replicas: int) -> None:
        """Wait until this number of pods exists, and all serve."""
        self.until(lambda: self._is_settled(replicas), READY_SECONDS)

    def gone(self, names: set[str]) -> None:
        """Wait until these pods have stopped."""
        self.until(lambda: not names & self.names(stopping=True), GONE_SECONDS)

    def _is_settled(self, replicas: int) -> bool:
        pods = self.pods()
        return len(pods) == replicas and all(is_ready(pod) for pod in pods) and self._is_rolled_out()

    def _is_rolled_out(self) -> bool:
        deployment = self.kube.get("Deployment", NAME, self.namespace)
        status = (deployment or {}).get("status") or {}
        return bool(deployment) and status.get("observedGeneration") == deployment["metadata"]["generation"]  # type: ignore[index]


class ServerStage(Stage):
    """A VLLMServer of the operator."""

    def serve(self, replicas: int, *, surge: bool = False) -> None:
        """Bring the server to a number of replicas, and wait until all serve."""
        rollout = {
            "maxSurge": int(surge),
            "maxUnavailable": int(not surge),
            "drainTimeoutSeconds": DRAIN_TIMEOUT_SECONDS,
        }
        spec: Object = {"replicas": replicas, "rollout": rollout}
        if self.kube.get(KIND, NAME, self.namespace) is None:
            self.kube.apply(pace_config_map(), namespace=self.namespace)
            body = cpu_server(self.cluster, NAME, {**self._constant_spec(), **spec})
            self.kube.apply(body, namespace=self.namespace)
        else:
            self.kube.patch(KIND, NAME, self.namespace, {"spec": {**spec, "autoscaling": None}})
        self.until(self._is_accepted, READY_SECONDS)
        self.settle(replicas)

    def scale(self, replicas: int) -> None:
        """Set the number of replicas, and do not wait."""
        self.kube.patch(KIND, NAME, self.namespace, {"spec": {"replicas": replicas}})

    def autoscale(self, scaling: Scaling) -> None:
        """Give the server an autoscaler, or change its bounds; wait until the operator has judged that."""
        spec = {
            "minReplicas": scaling.fewest,
            "maxReplicas": scaling.most,
            "targetRunningRequests": scaling.target,
            "behavior": SCALING_BEHAVIOR,
            "idleSeconds": IDLE_SECONDS,
        }
        self.kube.patch(KIND, NAME, self.namespace, {"spec": {"autoscaling": spec}})
        self.until(self._is_accepted, READY_SECONDS)

    def change(self) -> None:
        """Change a variable of the pods, which replaces all of them, and do not wait."""
        self.changes += 1
        self.kube.patch(KIND, NAME, self.namespace, {"spec": {"engine": {"env": self.environment()}}})

    def _constant_spec(self) -> Object:
        engine = {"maxModelLen": MODEL_LENGTH, "enforceEager": True, "env": self.environment()}
        containers = [{"name": "vllm", "volumeMounts": [PACE_MOUNT]}]
        return {
            "model": {"uri": "file:///models/tiny"},
            "engine": {**engine, "extraArgs": list(PACE_ARGUMENTS)},
            "podTemplate": {"spec": {"volumes": [PACE_VOLUME], "containers": containers}},
        }

    def _is_accepted(self) -> bool:
        server = self.kube.must_get(KIND, NAME, self.namespace)
        observed = (server.get("status") or {}).get("observedGeneration")
        return observed == server["metadata"]["generation"] and condition(server, "Accepted").get("status") == "True"


class PlainStage(Stage):
    """A Deployment and a Service without the operator: probes, no preStop, no drain timeout, as guides have them."""

    def serve(self, replicas: int, *, surge: bool = False) -> None:
        """Bring the Deployment to a number of replicas, and wait until all serve."""
        labels = {"app.kubernetes.io/instance": NAME}
        container = {
            "name": "vllm",
            "image": self.cluster.vllm_image,
            "args": [
                "--model",
                "/models/tiny",
                "--served-model-name",
                "tiny",
                "--max-model-len",
                str(MODEL_LENGTH),
                "--enforce-eager",
                *PACE_ARGUMENTS,
            ],
            "ports": [{"name": "http", "containerPort": 8000}],
            "env": self.environment(),
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
            "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 5},
            "livenessProbe": {
                "httpGet": {"path": "/health", "port": "http"},
                "initialDelaySeconds": 120,
                "periodSeconds": 10,
                "failureThreshold": 12,
                "timeoutSeconds": 15,
            },
            "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, PACE_MOUNT],
        }
        template = {
            "metadata": {"labels": labels},
            "spec": {
                "enableServiceLinks": False,
                "containers": [container],
                "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}, PACE_VOLUME],
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels},
                    }
                ],
            },
        }
        strategy = {"rollingUpdate": {"maxSurge": int(surge), "maxUnavailable": int(not surge)}}
        spec = {"replicas": replicas, "strategy": strategy, "selector": {"matchLabels": labels}, "template": template}
        ports = [{"port": 80, "targetPort": "http"}]
        objects: list[Object] = [
            pace_config_map(),
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": NAME},
                "spec": {"selector": labels, "ports": ports},
            },
        ]
        for body in objects:
            self.kube.apply(body, "--server-side", "--force-conflicts", namespace=self.namespace)
        self.settle(replicas)

    def scale(self, replicas: int) -> None:
        """Set the number of replicas, and do not wait."""
        self.kube.kubectl("-n", self.namespace, "scale", f"deployment/{NAME}", f"--replicas={replicas}")

    def change(self) -> None:
        """Change a variable of the pods, which replaces all of them, and do not wait."""
        self.changes += 1
        self.kube.kubectl("-n", self.namespace, "set", "env", f"deployment/{NAME}", f"CHANGE={self.changes}")


def _holds(check: Callable[[], bool]) -> bool:
    """Return whether a check holds; on a busy machine the API server may not answer in time, which is no end."""
    try:
        return check()
    except (ApiException, HTTPError, OSError):
        return False


def is_ready(pod: Object) -> bool:
    """Return whether Kubernetes calls a pod ready, and it does not stop."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")
