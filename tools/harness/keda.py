"""Run a real Prometheus with scrapes every 15 s and a real KEDA next to a bare API server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.harness.fake_fleet import host_address, publish_metrics_api
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import die_with_parent, free_port
from tools.localcluster import build, settings
from tools.localcluster.certificates import Authority, Identity

SCRAPE_SECONDS = 15
KEDA_NAMESPACE = "keda"
SERVICE = "keda-operator-metrics-apiserver"


PASSWORD_HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
"""A bcrypt hash from the documentation of Prometheus. No test needs the password: KEDA is to be refused."""


@dataclass(frozen=True)
class Prometheus:
    """One Prometheus, reached in three ways.

    Attributes:
        url: without TLS, open to all.
        protected: without TLS; it asks for a password.
        private: with TLS by an authority that nobody trusts.
    """

    url: str
    protected: str
    private: str


@contextmanager
def keda_and_prometheus(kube: Kube, folder: Path, namespace: str) -> Iterator[Prometheus]:
    """Run KEDA, and a Prometheus for each way of access, for the length of the block.

    Args:
        kube: the administrator's access.
        folder: where they keep their files.
        namespace: the namespace whose pods Prometheus scrapes.
    """
    with ExitStack() as stack:
        scrapes = _scrapes(kube, namespace)
        url = _prometheus(stack, folder, "prometheus", scrapes, None)
        _keda(stack, kube, folder)
        certificates = folder / "keda-pki"
        tls = {"cert_file": str(certificates / "tls.crt"), "key_file": str(certificates / "tls.key")}
        protected = _prometheus(stack, folder, "protected", [], {"basic_auth_users": {"keda": PASSWORD_HASH}})
        private = _prometheus(stack, folder, "private", [], {"tls_server_config": tls})
        yield Prometheus(f"http://{url}", f"http://{protected}", f"https://{private}")


def _start(stack: ExitStack, command: list[str], log: Path, **variables: str) -> None:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **variables}, preexec_fn=die_with_parent
        )
    stack.callback(process.wait)
    stack.callback(process.terminate)


def _scrapes(kube: Kube, namespace: str) -> list[Object]:
    relabel = [
        {"source_labels": ["__meta_kubernetes_pod_ready"], "regex": "true", "action": "keep"},
        {"source_labels": ["__meta_kubernetes_pod_ip"], "target_label": "__address__", "replacement": "$1:8000"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ]
    discovery = {"role": "pod", "kubeconfig_file": str(kube.kubeconfig), "namespaces": {"names": [namespace]}}
    return [{"job_name": "vllm", "kubernetes_sd_configs": [discovery], "relabel_configs": relabel}]


def _prometheus(stack: ExitStack, folder: Path, name: str, scrapes: list[Object], web: Object | None) -> str:
    """Start a Prometheus; return its address."""
    config = {"global": {"scrape_interval": f"{SCRAPE_SECONDS}s"}, "scrape_configs": scrapes}
    path, address = folder / f"{name}.yml", f"127.0.0.1:{free_port()}"
    path.write_text(yaml.safe_dump(config))
    program = build.built("prometheus", settings.folders()) / "prometheus"
    command = [str(program), f"--config.file={path}", f"--storage.tsdb.path={folder / name}"]
    if web is not None:
        (folder / f"{name}-web.yml").write_text(yaml.safe_dump(web))
        command.append(f"--web.config.file={folder / f'{name}-web.yml'}")
    _start(stack, [*command, f"--web.listen-address={address}"], folder / f"{name}.log")
    return address


def _keda(stack: ExitStack, kube: Kube, folder: Path) -> None:
    """Run KEDA's operator and its adapter, whose external.metrics.k8s.io is registered."""
    for path in sorted(build.crds("keda").glob("*.yaml")):
        kube.apply(path.read_text(), "--server-side", "--force-conflicts")
    kube.kubectl("create", "namespace", KEDA_NAMESPACE)
    address, metrics_port, adapter_port = host_address(), free_port(), free_port()
    authority = Authority(folder / "keda-pki")
    names = (f"DNS:{SERVICE}.{KEDA_NAMESPACE}.svc", "DNS:localhost", "IP:127.0.0.1", f"IP:{address}")
    authority.ensure([Identity("tls", "/CN=keda", names)])
    certificates = folder / "keda-certs"
    certificates.mkdir()
    for source, target in (("tls.crt", "tls.crt"), ("tls.key", "tls.key"), ("ca.crt", "ca.crt")):
        (certificates / target).write_text((authority.folder / source).read_text())
    programs = build.built("keda", settings.folders())
    variables = {
        "KUBECONFIG": str(kube.kubeconfig),
        "POD_NAMESPACE": KEDA_NAMESPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": KEDA_NAMESPACE,
        "WATCH_NAMESPACE": "",
    }
    operator = [
        str(programs / "operator"),
        f"--kubeconfig={kube.kubeconfig}",
        f"--cert-dir={certificates}",
        "--enable-cert-rotation=false",
        "--enable-webhook-patching=false",
        "--enable-apiservice-patching=false",
        f"--metrics-service-bind-address=127.0.0.1:{metrics_port}",
        f"--metrics-bind-address=127.0.0.1:{free_port()}",
        f"--health-probe-bind-address=127.0.0.1:{free_port()}",
    ]
    _start(stack, operator, folder / "keda.log", **variables)
    adapter = [
        str(programs / "adapter"),
        f"--kubeconfig={kube.kubeconfig}",
        f"--authentication-kubeconfig={kube.kubeconfig}",
        f"--authorization-kubeconfig={kube.kubeconfig}",
        f"--lister-kubeconfig={kube.kubeconfig}",
        f"--secure-port={adapter_port}",
        f"--bind-address={address}",
        f"--tls-cert-file={certificates / 'tls.crt'}",
        f"--tls-private-key-file={certificates / 'tls.key'}",
        f"--cert-dir={certificates}",
        f"--metrics-service-address=localhost:{metrics_port}",
        f"--port={free_port()}",
    ]
    _start(stack, adapter, folder / "keda-adapter.log", **variables)
    publish_metrics_api(kube, KEDA_NAMESPACE, SERVICE, address, adapter_port)
    service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"namespace": KEDA_NAMESPACE, "name": SERVICE, "port": 443},
            "insecureSkipTLSVerify": True,
        },
    }
    kube.apply(service, "--server-side")
