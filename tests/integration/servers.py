"""VLLMServers and their children in one namespace, as the tests of this folder handle them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.harness.kube import Kube, Object, condition, essence
from vllm_operator.api.names import API_VERSION, KIND

MODEL = {"uri": "hf://tiny-org/tiny"}
CHILD_KINDS = ("Deployment", "Service", "PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget")
OPTIONAL_KINDS = ("PodMonitor", "PrometheusRule")


def child_name(kind: str, server: str) -> str:
    """The name of a server's child, for names that fit a label."""
    return f"{server}-cache" if kind == "PersistentVolumeClaim" else server


def manifest(name: str, spec: Mapping[str, Any]) -> Object:
    """A VLLMServer."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": {"model": MODEL, **spec}}


@dataclass
class Servers:
    """The servers of a namespace."""

    kube: Kube
    namespace: str
    kinds: tuple[str, ...] = (*CHILD_KINDS, *OPTIONAL_KINDS)

    def create(self, name: str, spec: Mapping[str, Any] | None = None, *, settled: bool = True) -> Object:
        """Create a server and wait until the operator has judged it."""
        created = self.kube.create(manifest(name, spec or {}), self.namespace)
        return self.settled(name) if settled else created

    def get(self, name: str) -> Object:
        return self.kube.must_get(KIND, name, self.namespace)

    def patch(self, name: str, spec: Mapping[str, Any], *, settled: bool = True) -> Object:
        """Merge into the spec and wait until the operator has judged it; None removes a field."""
        patched = self.kube.patch(KIND, name, self.namespace, {"spec": spec})
        return self.settled(name) if settled else patched

    def settled(self, name: str, within: float = 30) -> Object:
        """The server, once its status is of its present generation."""

        def judged() -> Object:
            server = self.get(name)
            assert (server.get("status") or {}).get("observedGeneration") == server["metadata"]["generation"]
            return server

        return self.kube.eventually(judged, within=within, namespace=self.namespace)

    def condition(self, name: str, kind: str = "Accepted") -> Object:
        return condition(self.get(name), kind)

    def refused(self, name: str, *words: str, reason: str = "", within: float = 30) -> Object:
        """Wait until the server is refused with a message that holds all these words."""

        def check() -> Object:
            accepted = self.condition(name)
            assert accepted.get("status") == "False", accepted
            missing = [word for word in words if word not in accepted["message"]]
            assert not missing, f"{missing} not in: {accepted['message']}"
            assert not reason or accepted["reason"] == reason, accepted
            return accepted

        return self.kube.eventually(check, within=within, namespace=self.namespace)

    def unmonitored(self, name: str, *words: str, reason: str, within: float = 30) -> None:
        """Wait until `MonitoringActive` is False with this reason and a message that holds all these words."""

        def check() -> None:
            monitoring = self.condition(name, "MonitoringActive")
            assert (monitoring.get("status"), monitoring.get("reason")) == ("False", reason), monitoring
            missing = [word for word in words if word not in monitoring["message"]]
            assert not missing, f"{missing} not in: {monitoring['message']}"

        self.kube.eventually(check, within=within, namespace=self.namespace)

    def accepted(self, name: str, within: float = 30) -> None:
        """Wait until the server is accepted."""
        self.kube.eventually(
            lambda: self.condition(name).get("status") == "True", within=within, namespace=self.namespace
        )

    def child(self, kind: str, server: str) -> Object:
        return self.kube.must_get(kind, child_name(kind, server), self.namespace)

    def find_child(self, kind: str, server: str) -> Object | None:
        return self.kube.get(kind, child_name(kind, server), self.namespace)

    def children(self, server: str) -> dict[str, Object]:
        """Kind -> child, for those that exist."""
        found = {kind: self.find_child(kind, server) for kind in self.kinds}
        return {kind: body for kind, body in found.items() if body is not None}

    def essences(self, server: str) -> dict[str, Object]:
        """Kind -> child, without what the API server writes into it."""
        return {kind: essence(body) for kind, body in self.children(server).items()}

    def container(self, server: str) -> Object:
        """The vLLM container of the Deployment."""
        return vllm_container(self.child("Deployment", server))


def vllm_container(deployment: Object) -> Object:
    """The container that runs vLLM."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "vllm")
