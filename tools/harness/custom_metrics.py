"""Serve vLLM's metrics to autoscalers of a cluster, by `fake_metrics_adapter.py` in a pod, until the block ends."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.harness import fake_metrics_adapter
from tools.harness.fake_metrics_adapter import GROUP, VERSION
from tools.harness.kube import Kube, Object
from tools.localcluster.certificates import Authority, Identity

NAME = "metrics-adapter"
PORT = 6443
API_SERVICE = f"{VERSION}.{GROUP}"
SERVED_SECONDS = 60.0
"""Seconds until the API server has found the adapter."""


@contextlib.contextmanager
def custom_metrics(kube: Kube, namespace: str, image: str) -> Iterator[None]:
    """Install the adapter in a namespace, wait until its API is served, and remove it at the end.

    Args:
        kube: the cluster.
        namespace: namespace of the adapter; its pods may have any servers.
        image: image with Python.
    """
    with TemporaryDirectory(prefix="metrics-adapter-") as folder:
        authority = Authority(Path(folder))
        host = f"{NAME}.{namespace}.svc"
        authority.ensure([Identity(NAME, f"/CN={NAME}", (f"DNS:{host}",))])
        bodies = _objects(namespace, image, authority)
    # Objects of the whole cluster do not end with the namespace.
    whole = [body for body in bodies if "namespace" not in body["metadata"]]
    try:
        for body in bodies:
            kube.apply(body, "--server-side", namespace=namespace)
        kube.kubectl("-n", namespace, "wait", f"pod/{NAME}", "--for=condition=Ready", "--timeout=90s")
        path = f"/apis/{GROUP}/{VERSION}"
        kube.eventually(lambda: kube.kubectl("get", "--raw", path), within=SERVED_SECONDS)
        yield
    finally:
        for body in whole:
            kube.kubectl("delete", body["kind"], body["metadata"]["name"], "--ignore-not-found", check=False)


def _objects(namespace: str, image: str, authority: Authority) -> list[Object]:
    script = Path(fake_metrics_adapter.__file__).read_text()
    tls = {"tls.crt": authority.certificate(NAME).read_text(), "tls.key": authority.key(NAME).read_text()}
    bundle = base64.b64encode(authority.certificate("ca").read_bytes()).decode()
    inside = {"name": NAME, "namespace": namespace}
    account = {"kind": "ServiceAccount", **inside}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": inside},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": rules},
        {
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": NAME}, "roleRef": role,
            "subjects": [account],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": inside, "data": {"adapter.py": script}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": inside, "stringData": tls},
        _pod(inside, image),
        {
            "apiVersion": "v1", "kind": "Service", "metadata": inside,
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": PORT}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API_SERVICE},
            "spec": {
                "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
                "caBundle": bundle, "service": inside,
            },
        },
    ]  # fmt: skip


def _pod(inside: dict[str, str], image: str) -> Object:
    files = ["--certificate", "/tls/tls.crt", "--key", "/tls/tls.key"]
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/adapter/adapter.py", "--port", str(PORT), *files],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "script", "mountPath": "/adapter"}, {"name": "tls", "mountPath": "/tls"}],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000},
    }
    volumes = [{"name": "script", "configMap": {"name": NAME}}, {"name": "tls", "secret": {"secretName": NAME}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**inside, "labels": {"app": NAME}},
        "spec": {
            "serviceAccountName": NAME,
            "containers": [container],
            "volumes": volumes,
            "terminationGracePeriodSeconds": 1,
        },
    }
