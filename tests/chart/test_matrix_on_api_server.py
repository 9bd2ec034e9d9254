"""Every set of values renders objects that kubeconform and a real API server accept, strictly."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.matrix import NAMESPACE, VALUES
from tests.chart.programs import built
from tests.chart.releases import Releases
from tests.helpers.alone import install_crd
from tools.chart.files import OPERATOR, SERVER
from tools.chart.helm import Helm
from tools.chart.openapi import LOCATION, write_schemas
from tools.harness.control_plane import Plane
from tools.harness.crds import install_monitoring_crds
from tools.harness.kube import Kube

NAMESPACES = (NAMESPACE, "team-a", "team-b", "leases")


@pytest.fixture(scope="module")
def cluster(plane: Plane, helm4: Helm) -> Iterator[Kube]:
    """The cluster with the CRDs, and the namespaces that the matrix names."""
    kube = plane.kube()
    install_crd(kube)
    install_monitoring_crds(kube)
    for name in NAMESPACES:
        kube.kubectl("create", "namespace", name)
    yield kube
    for name in NAMESPACES:
        kube.delete("Namespace", name)
    Releases(replace(helm4, kubeconfig=plane.kubeconfig), kube).remove_all()


@pytest.fixture(scope="module")
def schemas(cluster: Kube, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schemas of every kind that the API server knows, of VLLMServer and PodMonitor, too."""
    folder = tmp_path_factory.mktemp("schemas")

    def published() -> int:
        document = json.loads(cluster.kubectl("get", "--raw", "/openapi/v2").stdout)
        assert {"dev.vllm-operator.v1alpha1.VLLMServer", "com.coreos.monitoring.v1.PodMonitor"} <= set(
            document["definitions"]
        )
        return write_schemas(document, folder)

    assert cluster.eventually(published, within=60) > 100
    return folder


def kubeconform(schemas: Path, text: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and report of kubeconform."""
    options = ["-strict", "-output", "json", "-schema-location", f"{schemas}/{LOCATION}"]
    done = subprocess.run([built("kubeconform"), *options, "-summary"], input=text, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_objects_fit_the_schemas_and_are_accepted(cluster: Kube, schemas: Path, helm4: Helm, values: Any) -> None:
    fixed = ["vllm-operator", str(OPERATOR), "--namespace", NAMESPACE]
    # With the objects of `helm test`.
    text = helm4.run("template", *fixed, values=values)

    code, report = kubeconform(schemas, text)
    assert (code, report["resources"]) == (0, []), report
    assert report["summary"]["valid"] == len([body for body in yaml.safe_load_all(text) if body])
    options = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    # A pod is refused while its service account is not there, and a dry run creates none.
    others = [body for body in yaml.safe_load_all(text) if body and body["kind"] != "Pod"]
    answer = cluster.kubectl("apply", *options, "-f", "-", stdin=yaml.safe_dump_all(others))
    assert answer.stdout.count("(server dry run)") == len(others)
    assert "Warning" not in answer.stderr


@pytest.mark.parametrize("name", ["default", "everything"])
def test_nothing_differs_after_an_apply(cluster: Kube, helm4: Helm, name: str) -> None:
    """A GitOps tool that compares what it rendered with what is there finds no difference."""
    objects = helm4.template(OPERATOR, release="vllm-operator", namespace=NAMESPACE, values=VALUES[name])
    text = yaml.safe_dump_all(objects)
    how = ["--server-side", "--force-conflicts", "-f", "-"]
    try:
        cluster.kubectl("apply", *how, stdin=text)
        answer = cluster.kubectl("diff", *how, stdin=text, check=False)
        assert (answer.code, answer.text) == (0, "")
        live = json.loads(cluster.kubectl("get", "-f", "-", "-o", "json", stdin=text).stdout)["items"]
        assert [path for one, other in zip(objects, live, strict=True) for path in dropped(one, other)] == []
    finally:
        others = [body for body in objects if body["kind"] != "CustomResourceDefinition"]
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(others))


def dropped(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Return the fields of an object that the API server did not keep as they were sent.

    `kubectl diff` compares two answers of the API server, so it does not find them; a client that compares with what it
    rendered, such as Argo CD with client-side apply, does.
    """
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [one for key in wanted for one in dropped(wanted[key], live.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        pairs = enumerate(zip(wanted, live, strict=True))
        return [found for number, pair in pairs for found in dropped(*pair, f"{path}[{number}]")]
    return [] if wanted == live else [f"{path}: {wanted!r}, not {live!r}"]


def test_servers_fit_the_schema_of_the_crd(cluster: Kube, schemas: Path, helm4: Helm) -> None:
    text = helm4.run("template", "models", str(SERVER), "-f", str(SERVER / "ci" / "tiny-values.yaml"))

    assert kubeconform(schemas, text)[0] == 0
    assert cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text).code == 0


def test_a_wrong_object_does_not_fit(schemas: Path) -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": []}}

    code, report = kubeconform(schemas, yaml.safe_dump(wrong))

    assert code == 1
    assert "additional properties 'port' not allowed" in json.dumps(report)
