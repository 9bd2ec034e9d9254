"""Access a cluster as its users do: by the official client, by the real kubectl, and with a deadline."""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import yaml
from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError

from vllm_operator.api.names import API_VERSION, GATEWAY_KIND, KIND

T = TypeVar("T")
Object = dict[str, Any]

API_VERSIONS = {
    KIND: API_VERSION,
    GATEWAY_KIND: API_VERSION,
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "StorageClass": "storage.k8s.io/v1",
}
"""Kind -> API version; every other kind is in the core group."""


@dataclass(frozen=True)
class Answer:
    """The output and exit code of kubectl."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


@dataclass
class Kube:
    """The cluster of one kubeconfig; `reports` add to what a failed wait prints, such as the operator's log."""

    kubeconfig: Path
    program: Path
    reports: list[Callable[[], str]] = field(default_factory=list)

    @cached_property
    def client(self) -> dynamic.DynamicClient:
        api = config.new_client_from_config(str(self.kubeconfig))
        return dynamic.DynamicClient(api, cache_file=f"{self.scratch.name}/discovery.json")

    @cached_property
    def scratch(self) -> TemporaryDirectory[str]:
        """The folder of the client's discovery cache; deleted with this object."""
        return TemporaryDirectory(prefix="vllm-operator-discovery-")

    def resource(self, kind: str) -> Any:
        """Return the endpoint of a kind."""
        try:
            return self.client.resources.get(api_version=API_VERSIONS.get(kind, "v1"), kind=kind)
        except ResourceNotFoundError:
            self.client.resources.invalidate_cache()
            return self.client.resources.get(api_version=API_VERSIONS.get(kind, "v1"), kind=kind)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120) -> Answer:
        """Run the real kubectl as a user would."""
        command = [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {answer.text}")
        return answer

    def apply(self, manifest: Object | str, *options: str, namespace: str = "default", check: bool = True) -> Answer:
        """`kubectl apply` of an object or of YAML text."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.kubectl("-n", namespace, "apply", *options, "-f", "-", stdin=text, check=check)

    def wait_for_crds(self, *names: str) -> None:
        """Wait until the API server serves these kinds. kubectl itself fails where a CRD has no status yet."""
        crds = [f"crd/{name}" for name in names]
        self.eventually(lambda: self.kubectl("wait", "--for=condition=Established", *crds, "--timeout=20s"), within=20)

    def delete_crd(self, name: str) -> None:
        """Delete a CRD with its objects, and wait until it is gone.

        A CRD that is deleted a second after its creation was seen to stay for more than a minute: the API server's
        finalizer tries again after growing pauses. A change of the object starts its next try at once.
        """
        self.kubectl("delete", "crd", name, "--ignore-not-found", "--wait=false")
        for attempt in range(6):
            done = self.kubectl("wait", "--for=delete", f"crd/{name}", "--timeout=30s", check=False)
            if done.code == 0:
                return
            self.kubectl("annotate", "crd", name, f"deletion-attempt={attempt}", "--overwrite", check=False)
        found = self.get("CustomResourceDefinition", name)
        raise AssertionError(f"the CRD {name} is not gone: {json.dumps((found or {}).get('status'))}")

    def create(self, manifest: Object, namespace: str | None = None) -> Object:
        kind = self.resource(manifest["kind"])
        return _as_object(kind.create(body=manifest, namespace=namespace, field_manager="tests"))

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return an object, or None."""
        try:
            return _as_object(self.resource(kind).get(name=name, namespace=namespace))
        except (NotFoundError, ResourceNotFoundError):
            return None

    def must_get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return an object; fail if it does not exist."""
        found = self.get(kind, name, namespace)
        assert found is not None, f"there is no {kind} {namespace}/{name}"
        return found

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        try:
            found = self.resource(kind).get(namespace=namespace, label_selector=selector or None)
        except (NotFoundError, ResourceNotFoundError):
            return []
        return [{"kind": kind, **item} for item in found.to_dict().get("items") or []]

    def patch(
        self, kind: str, name: str, namespace: str | None, patch: Any, *, json_patch: bool = False, status: bool = False
    ) -> Object:
        """Send a merge patch, or a list of JSON patch operations; return the object."""
        endpoint = self.resource(kind).status if status else self.resource(kind)
        how = "application/json-patch+json" if json_patch else "application/merge-patch+json"
        answer = endpoint.patch(
            name=name, namespace=namespace, body=patch, content_type=how, field_manager="kubectl-edit"
        )
        return _as_object(answer)

    def replace(self, kind: str, name: str, namespace: str | None, change: Callable[[Object], None]) -> Object:
        """Read, change and write back, as `kubectl edit` does; repeat after a conflict."""
        while True:
            body = copy.deepcopy(self.must_get(kind, name, namespace))
            change(body)
            try:
                return _as_object(self.resource(kind).replace(body=body, namespace=namespace))
            except ConflictError:
                continue

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object; one that is gone already is fine."""
        with contextlib.suppress(NotFoundError, ResourceNotFoundError):
            self.resource(kind).delete(name=name, namespace=namespace)

    @contextlib.contextmanager
    def namespace(self, prefix: str, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """Create a namespace for the length of the block; delete it afterwards, without waiting."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        metadata = {"name": name, "labels": dict(labels or {})}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        try:
            yield name
        finally:
            self.delete("Namespace", name)

    def eventually(self, check: Callable[[], T], *, within: float, namespace: str | None = None) -> T:
        """Call `check` until it neither asserts nor returns False; after `within` seconds its error, with a report."""
        deadline = time.monotonic() + within
        pause = 0.02
        while True:
            try:
                result = check()
                if result is not False:
                    return result
                error = AssertionError("the condition does not hold")
            except (AssertionError, ConflictError) as failure:
                error = failure if isinstance(failure, AssertionError) else AssertionError(str(failure))
            if time.monotonic() > deadline:
                error.add_note(f"not within {within:g} s")
                error.add_note(self.report(namespace))
                raise error
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def stays(self, check: Callable[[], object], *, seconds: float) -> None:
        """Call `check` for `seconds`: it must hold at every moment."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert check() is not False
            time.sleep(0.05)

    def report(self, namespace: str | None = None) -> str:
        """Return servers with their status, pods, Events, and the other reports."""
        parts = [report() for report in self.reports]
        scope = ["-n", namespace] if namespace else ["-A"]
        with contextlib.suppress(Exception):
            parts += [
                f"{name_of(server)} {yaml.safe_dump(server.get('status'))}" for server in self.list(KIND, namespace)
            ]
            parts += [self.kubectl(*scope, "get", kind, "-o", "wide").text[-6000:] for kind in ("pods", "events")]
        return "\n".join(parts)


def _as_object(answer: Any) -> Object:
    body: Object = answer.to_dict()
    return body


def name_of(body: Object) -> str:
    """Return `namespace/name`."""
    return f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"


def condition(server: Object | None, kind: str) -> Object:
    """Return a condition of a server; empty while it has not been written."""
    conditions = ((server or {}).get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


SERVER_FIELDS = ("resourceVersion", "generation", "managedFields", "creationTimestamp", "uid", "selfLink")


def essence(body: Object) -> Object:
    """Return an object without the fields that the API server and other controllers write into it."""
    result = copy.deepcopy({key: value for key, value in body.items() if key != "status"})
    for name in SERVER_FIELDS:
        result["metadata"].pop(name, None)
    annotations = result["metadata"].get("annotations") or {}
    annotations.pop("deployment.kubernetes.io/revision", None)
    if not annotations:
        result["metadata"].pop("annotations", None)
    return result
