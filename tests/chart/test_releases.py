"""Releases on a real API server: install, upgrade, rollback and uninstall touch no pod of a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chart.releases import RELEASE, Releases, lend, older_chart, operator
from tests.helpers.alone import CRD
from tools.chart.files import OPERATOR, SERVER
from tools.harness.kube import KIND, Kube, Object, condition
from vllm_operator import __version__
from vllm_operator.install.manifests import operator_manifests, to_yaml

NEW_FIELD = "disruption"
"""A field of the spec that the CRD of the older chart lacks."""
MODEL = {"uri": "file:///models/tiny"}


def server(**spec: Any) -> Object:
    """Return a server that needs no claim."""
    return {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": KIND,
        "metadata": {"name": "mistral"},
        "spec": {"model": MODEL, **spec},
    }


def judged(kube: Kube, namespace: str) -> Object:
    """Return the server once its status is of its present generation."""

    def check() -> Object:
        found = kube.must_get(KIND, "mistral", namespace)
        assert (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
        return found

    return kube.eventually(check, within=60, namespace=namespace)


def pods(kube: Kube, namespace: str) -> dict[str, str]:
    """Return name and UID of the pods of the server, with the generation of its Deployment."""
    deployment = kube.must_get("Deployment", "mistral", namespace)
    found = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in kube.list("Pod", namespace)}
    assert found, "the controller manager has created a pod"
    return {**found, "generation": str(deployment["metadata"]["generation"]), "uid": deployment["metadata"]["uid"]}


def crd_fields(kube: Kube) -> set[str]:
    """Return the fields of a spec that the installed CRD has."""
    body = kube.must_get("CustomResourceDefinition", CRD)
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(schema["properties"]["spec"]["properties"])


def test_life_of_a_release_restarts_no_pod(
    releases: Releases, namespace: str, other: str, copied_chart: Path, tmp_path: Path
) -> None:
    kube = releases.kube
    older = older_chart(copied_chart, "0.0.9", NEW_FIELD)

    releases.install(namespace, chart=older)
    kube.wait_for_crds(CRD)
    assert NEW_FIELD not in crd_fields(kube)
    with operator(kube, lend(kube, namespace, tmp_path / "operator")):
        kube.apply(server(), namespace=other)
        judged(kube, other)
        before = kube.eventually(lambda: pods(kube, other), within=30)

        releases.upgrade(namespace)
        assert releases.revision(namespace) == (2, "deployed")
        assert NEW_FIELD in crd_fields(kube), "an upgrade updates the CRD"
        assert condition(judged(kube, other), "Accepted")["status"] == "True"
        assert pods(kube, other) == before

        releases.rollback(namespace, 1)
        assert releases.revision(namespace) == (3, "deployed")
        assert NEW_FIELD not in crd_fields(kube)
        assert pods(kube, other) == before

        releases.upgrade(namespace, secrets="all", logLevel="debug")
        assert pods(kube, other) == before
        message = releases.uninstall(namespace)

    assert CRD in message, "Helm says that it keeps the CRD"
    assert pods(kube, other) == before
    assert kube.must_get(KIND, "mistral", other)["spec"]["model"] == MODEL
    assert releases.leftovers() == {f"CustomResourceDefinition//{CRD}"}

    # A new release takes up the CRD, and the servers that went on serving.
    releases.install(namespace)
    with operator(kube, lend(kube, namespace, tmp_path / "again")):
        kube.patch(KIND, "mistral", other, {"spec": {"replicas": 1, "metadata": {"labels": {"seen": "again"}}}})
        judged(kube, other)
        labels = kube.must_get("Deployment", "mistral", other)["metadata"]["labels"]
        assert labels["seen"] == "again"
    assert {name: uid for name, uid in pods(kube, other).items() if name in before and name != "generation"} == {
        name: uid for name, uid in before.items() if name != "generation"
    }


def with_few_values(chart: Path) -> Path:
    """Make a chart an older one, which had two values and one object; return it."""
    for path in (chart / "values.schema.json", *(chart / "templates").rglob("*.*")):
        path.unlink()
    (chart / "values.yaml").write_text("replicas: 1\nlogLevel: info\ncrds: {enabled: true}\n")
    (chart / "templates" / "old.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\ndata: {level: {{ .Values.logLevel }}}\n"
    )
    return chart


@pytest.mark.parametrize("option", ["--reuse-values", "--reset-then-reuse-values"])
def test_upgrade_takes_the_defaults_of_values_that_the_older_chart_lacks(
    releases: Releases, namespace: str, copied_chart: Path, option: str
) -> None:
    releases.install(namespace, chart=with_few_values(copied_chart), logLevel="debug")

    releases.helm.run("upgrade", RELEASE, str(OPERATOR), "--namespace", namespace, option)

    arguments = releases.kube.must_get("Deployment", RELEASE, namespace)["spec"]["template"]["spec"]["containers"][0]
    assert "--log-level=debug" in arguments["args"], "the value of the release stays"
    assert "--pod-template=restricted" in arguments["args"]
    assert releases.kube.get("ConfigMap", "old", namespace) is None
    # And the other way round: the same release takes its values once more.
    releases.helm.run("upgrade", RELEASE, str(OPERATOR), "--namespace", namespace, option, "--set", "workers=8")
    assert releases.revision(namespace) == (3, "deployed")


def test_crd_goes_with_the_release_only_when_asked_to(releases: Releases, namespace: str) -> None:
    notes = releases.install(namespace, crds={"keep": False})
    assert "EVERY VLLMServer of the cluster" in notes

    releases.uninstall(namespace)

    # The API server takes its time with a CRD that has just been created (Kube.delete_crd).
    releases.kube.eventually(lambda: releases.leftovers() == set(), within=180)


def test_operator_works_with_the_rights_of_some_namespaces(
    releases: Releases, namespace: str, other: str, tmp_path: Path
) -> None:
    kube = releases.kube
    releases.install(namespace, servedNamespaces=[other])
    kube.wait_for_crds(CRD)

    options = (f"--namespace={other}", "--leader-elect", f"--lease-namespace={namespace}")
    with operator(kube, lend(kube, namespace, tmp_path / "operator"), *options):
        kube.apply(server(), namespace=other)
        assert condition(judged(kube, other), "Accepted")["status"] == "True"
    assert kube.get("ClusterRole", "vllm-operator") is None


def test_release_takes_over_the_install_file(releases: Releases, namespace: str) -> None:
    kube = releases.kube
    image = f"vllm-operator:{__version__}"
    objects = [body for body in operator_manifests(image, namespace) if body["kind"] != "Namespace"]
    kube.kubectl("apply", "--server-side", "-f", "-", stdin=to_yaml(objects))
    before = kube.must_get("Deployment", RELEASE, namespace)["metadata"]["uid"]

    assert "cannot be imported into the current release" in releases.refused(namespace)
    # Helm 4 applies on the server, where kubectl owns the fields so far.
    force = ["--force-conflicts"] if releases.helm.major > 3 else []
    releases.install(namespace, "--take-ownership", *force)

    assert kube.must_get("Deployment", RELEASE, namespace)["metadata"]["uid"] == before
    releases.uninstall(namespace)
    assert releases.leftovers() == {f"CustomResourceDefinition//{CRD}"}


def test_servers_of_a_release_come_and_go(releases: Releases, namespace: str, other: str) -> None:
    kube = releases.kube
    releases.install(namespace)
    kube.wait_for_crds(CRD)
    values = {
        "defaults": {"engine": {"maxModelLen": 4096, "env": [{"name": "A", "value": "1"}]}},
        "servers": {
            "mistral": {"spec": {"model": MODEL}},
            "qwen": {"spec": {"model": MODEL, "engine": {"maxModelLen": 512}}, "labels": {"team": "search"}},
            "off": {"enabled": False},
        },
        "proxy": {"https": "http://proxy.example:3128"},
        "ca": {"configMap": "company-ca"},
    }

    notes = releases.install(other, release="models", chart=SERVER, **values)

    found = {body["metadata"]["name"]: body for body in kube.list(KIND, other)}
    assert set(found) == {"mistral", "qwen"}
    assert (found["mistral"]["spec"]["engine"]["maxModelLen"], found["qwen"]["spec"]["engine"]["maxModelLen"]) == (
        4096,
        512,
    )
    names = [one["name"] for one in found["mistral"]["spec"]["engine"]["env"]]
    assert names[0] == "A"
    assert {"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"} <= set(names)
    assert found["qwen"]["metadata"]["labels"]["team"] == "search"
    assert f"kubectl -n {other} get vllmserver mistral --watch" in notes

    values["servers"].pop("qwen")
    releases.upgrade(other, release="models", chart=SERVER, keep=True, **values)
    kube.eventually(lambda: kube.get(KIND, "qwen", other) is None, within=30)
    releases.uninstall(other, release="models")
    assert kube.get(KIND, "mistral", other) is not None, "keep: true keeps it"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"model": {"uri": "s3://bucket/model"}}, "s3://, gs:// and oci:// are not supported yet"),
        ({"model": {"uri": ""}}, "name a model"),
    ],
)
def test_rules_of_the_crd_refuse_a_server(releases: Releases, namespace: str, values: Object, named: str) -> None:
    releases.install(namespace)
    releases.kube.wait_for_crds(CRD)

    assert named in releases.refused(namespace, release="models", chart=SERVER, servers={"a": {"spec": values}})


def test_release_of_servers_names_what_is_missing(releases: Releases, namespace: str) -> None:
    message = releases.refused(namespace, release="models", chart=SERVER, servers={"a": {"spec": {"model": MODEL}}})

    assert "VLLMServer" in message
    assert "ensure CRDs are installed first" in message
    assert json.loads(releases.helm.run("list", "--namespace", namespace, "--output", "json")) == []
