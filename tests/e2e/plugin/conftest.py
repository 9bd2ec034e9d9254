"""Two servers: one with an API key and an autoscaler on the operator's metrics, and one that cannot start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.plugin.program import Program
from tools.harness.kube import KIND, Kube, Object
from tools.harness.real_cluster import RealCluster, cpu_server
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

KEY = "key-of-the-tests"
SERVING, BROKEN = "mistral", "too-long"


@pytest.fixture(scope="session")
def place(kube: Kube) -> Iterator[str]:
    """A namespace for the servers; they are gone at the end."""
    with kube.namespace("llm") as name:
        try:
            yield name
        finally:
            kube.kubectl("-n", name, "delete", "vllmservers,pods", "--all", "--timeout=60s", check=False)


@pytest.fixture(scope="session")
def program(kube: Kube, place: str) -> Program:
    """The program; PLUGIN_TRANSCRIPT=FILE keeps all commands with their outputs, for the docs."""
    path = os.environ.get("PLUGIN_TRANSCRIPT")
    return Program(kube.kubeconfig, place, Path(path) if path else None)


@pytest.fixture(scope="session")
def manifest(cluster: RealCluster) -> Object:
    """The server that serves: an engine of two requests at once, so that a load fills its queue."""
    behavior = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}
    spec: dict[str, Any] = {
        "model": {"uri": "file:///models/tiny", "servedNames": ["tiny"]},
        "engine": {"maxModelLen": 512, "enforceEager": True, "maxNumSeqs": 4},
        "security": {"apiKeySecretRef": {"name": "clients"}},
        "autoscaling": {"maxReplicas": 2, "targetRunningRequests": 2, "behavior": behavior},
    }
    return cpu_server(cluster, SERVING, spec)


@pytest.fixture(scope="session")
def manifest_file(manifest: Object, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("manifest") / "server.yaml"
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return str(path)


@pytest.fixture(scope="session")
def secret(kube: Kube, place: str) -> None:
    metadata = {"name": "clients", "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}}
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": KEY}}, place)


@pytest.fixture(scope="session")
def applied(kube: Kube, place: str, secret: None, manifest_file: str) -> str:
    """The server that serves, while it loads."""
    kube.kubectl("-n", place, "apply", "-f", manifest_file)
    return SERVING


@pytest.fixture(scope="session")
def serving(program: Program, applied: str) -> str:
    """The server that serves, when it does."""
    ended = program.run("wait", applied, "--timeout", "4m")
    assert ended.code == 0, ended.text
    assert ended.stdout == f"{applied}: Ready\n"
    return applied


@pytest.fixture(scope="session")
def broken(cluster: RealCluster, kube: Kube, place: str, serving: str) -> str:
    """A server whose vLLM refuses its context length, and ends."""
    engine = {"maxModelLen": 100_000, "enforceEager": True}
    kube.apply(
        cpu_server(cluster, BROKEN, {"model": {"uri": "file:///models/tiny"}, "engine": engine}), namespace=place
    )
    assert kube.must_get(KIND, BROKEN, place)
    return BROKEN
