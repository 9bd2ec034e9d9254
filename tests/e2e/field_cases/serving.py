"""Serve a field case on the real cluster, and look at what stands there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.conftest import pods, wait_ready
from tests.e2e.field_cases.cases import CASES, FieldCase, judged
from tools.harness.in_cluster import PROXY_SECONDS, InCluster
from tools.harness.kube import KIND, Object, condition
from tools.harness.real_cluster import RealCluster
from vllm_operator.validation.pod_template import FREE, NAMESPACE_LABEL

FREE_LABELS = {NAMESPACE_LABEL: FREE, "pod-security.kubernetes.io/enforce": "privileged"}
"""Labels of a namespace whose owner may use pod templates without restrictions."""


@dataclass(frozen=True)
class ServedCase:
    """A field case whose server stands in the cluster.

    Attributes:
        case: the case.
        client: the pod from which requests are sent.
        there: the namespace of the server.
    """

    case: FieldCase
    client: InCluster
    there: InCluster

    def ready(self) -> Object:
        """Wait until the server is ready, and return it."""
        return wait_ready(self.there, self.case.name)

    def condition(self, kind: str) -> Object:
        """Return a condition of the server."""
        return condition(self.there.kube.must_get(KIND, self.case.name, self.there.namespace), kind)

    def child(self, kind: str) -> Object:
        """Return the child with the name of the server."""
        return self.there.kube.must_get(kind, self.case.name, self.there.namespace)

    @property
    def pods(self) -> list[Object]:
        """The pods of the server."""
        return pods(self.there, self.case.name)

    def container(self) -> Object:
        """Return the container of vLLM in the Deployment."""
        containers: list[Object] = self.child("Deployment")["spec"]["template"]["spec"]["containers"]
        return next(container for container in containers if container["name"] == "vllm")

    def chat(self, model: str, url: str = "") -> int:
        """Return the HTTP status of a chat completion through the Service, once the proxy of the node has it."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
        address = f"{url or self.there.url(self.case.name)}/v1/chat/completions"
        deadline = time.monotonic() + PROXY_SECONDS
        while True:
            status, _ = self.client.call(address, body)
            if status or time.monotonic() > deadline:
                return status
            time.sleep(0.2)


@contextmanager
def served_case(case: FieldCase, client: InCluster, there: InCluster, server: Object) -> Iterator[ServedCase]:
    """Apply a server of a case for the length of the block; wait until its pods are gone.

    Args:
        case: the case.
        client: the pod from which requests are sent.
        there: the namespace of the server.
        server: the VLLMServer.
    """
    there.kube.apply(server, namespace=there.namespace)
    served = ServedCase(case, client, there)
    try:
        yield served
    finally:
        there.kube.kubectl("-n", there.namespace, "delete", "vllmserver", case.name, "--timeout=60s", check=False)
        there.kube.eventually(lambda: served.pods == [], within=60, namespace=there.namespace)


@contextmanager
def serving(name: str, cluster: RealCluster, client: InCluster, there: InCluster | None = None) -> Iterator[ServedCase]:
    """Serve a case, which `render` accepts too.

    Args:
        name: name of the server.
        cluster: the cluster.
        client: the pod from which requests are sent.
        there: the namespace of the server; by default that of the client.
    """
    case = CASES[name]
    server = case.server(cluster.vllm_image)
    assert judged(server, "free" if case.free else "restricted").problems == ()
    with served_case(case, client, there or client, server) as served:
        yield served


def check_metadata(served: ServedCase) -> None:
    """Check that the labels and annotations of case 24 stand at each child, and answer a request."""
    for kind in ("Deployment", "Service"):
        metadata = served.child(kind)["metadata"]
        assert metadata["labels"]["team"] == "ml"
        assert metadata["annotations"]["lingo.substratus.ai/models"] == "m"
    assert served.child("Service")["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    [pod] = served.pods
    assert pod["metadata"]["labels"]["adapter.model.aibrix.ai/enabled"] == "true"
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert served.chat("mistral-7b-instruct-v0.1") == 200


def check_names(served: ServedCase) -> None:
    """Check that the server of case 41 answers under both of its names, and under no other."""
    status = served.ready()["status"]
    assert sorted(status["servedModels"]) == ["granite-4.2-8b", "ibm-granite/granite-4.2-8b"], status["servedModels"]
    for name in status["servedModels"]:
        assert served.chat(name) == 200
    assert served.chat("another") == 404
