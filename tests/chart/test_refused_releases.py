"""Releases that cannot work, or would work against another one, are refused on a real API server with the remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.chart.releases import RELEASE, Releases, with_user
from tests.helpers.alone import CRD
from tools.harness.crds import install_monitoring_crds, remove_monitoring_crds
from tools.harness.kube import Kube
from vllm_operator import __version__

NEWER = "99.0.0"


def test_second_release_in_a_namespace_is_refused(releases: Releases, namespace: str, other: str) -> None:
    releases.install(namespace, servedNamespaces=[other])

    message = releases.refused(namespace, release="second", servedNamespaces=[namespace], crds={"enabled": False})

    assert "an operator runs already in this namespace" in message
    assert f"belongs to release {RELEASE} in namespace {namespace}" in message
    assert "install this one into another namespace" in message


def test_second_release_for_all_namespaces_is_refused(releases: Releases, namespace: str, other: str) -> None:
    releases.install(namespace)

    message = releases.refused(other, release="second", crds={"enabled": False})

    assert "another operator serves all namespaces already" in message
    assert "set servedNamespaces, or uninstall the other operator" in message
    served = releases.refused(other, release="second", servedNamespaces=[other], crds={"enabled": False})
    assert "another operator serves all namespaces already" in served


def test_release_for_all_namespaces_is_refused_where_one_serves_some(
    releases: Releases, namespace: str, other: str
) -> None:
    releases.install(namespace, servedNamespaces=[namespace])

    message = releases.refused(other, release="second", crds={"enabled": False})

    assert f"another operator serves the namespace {namespace} already" in message
    # The same release may serve all namespaces from now on.
    releases.upgrade(namespace, servedNamespaces=[])
    assert releases.kube.get("ClusterRole", "vllm-operator") is not None


def test_releases_for_different_namespaces_run_side_by_side(releases: Releases, namespace: str, other: str) -> None:
    releases.install(namespace, servedNamespaces=[namespace])
    again = releases.refused(other, release="second", servedNamespaces=[namespace, other], crds={"enabled": False})

    assert f"another operator serves the namespace {namespace} already" in again
    releases.install(other, release="second", servedNamespaces=[other], crds={"enabled": False})
    releases.uninstall(namespace)
    assert releases.kube.get("Deployment", "second-vllm-operator", other) is not None
    policies = {name for name in releases.leftovers() if name.startswith("ValidatingAdmissionPolicy/")}
    assert policies == {f"ValidatingAdmissionPolicy//vllm-operator-pod-template-{other}"}


def test_crd_of_a_newer_operator_is_not_replaced(releases: Releases, namespace: str) -> None:
    kube = releases.kube
    releases.install(namespace)
    releases.uninstall(namespace)
    label = {"metadata": {"labels": {"app.kubernetes.io/version": NEWER}}}
    kube.patch("CustomResourceDefinition", CRD, None, label)

    message = releases.refused(namespace)

    assert f"is that of the newer operator {NEWER}, and this chart has that of {__version__}" in message
    assert "set crds.enabled to false" in message
    releases.install(namespace, crds={"enabled": False})
    assert version_of_crd(kube) == NEWER
    # Helm 4 applies on the server, where the test owns the label so far.
    force = ["--force-conflicts"] if releases.helm.major > 3 else []
    releases.upgrade(namespace, *force, crds={"allowDowngrade": True})
    assert version_of_crd(kube) == __version__


def version_of_crd(kube: Kube) -> str:
    """Return the version that the label of the CRD names."""
    return str(kube.must_get("CustomResourceDefinition", CRD)["metadata"]["labels"]["app.kubernetes.io/version"])


def test_missing_rights_are_named(releases: Releases, namespace: str, other: str, tmp_path: Path) -> None:
    kube = releases.kube
    for place in (namespace, other):
        kube.kubectl("-n", place, "create", "serviceaccount", "owner")
    # Everything in one namespace, and nothing outside of it.
    binding = ["create", "rolebinding", "owner", "--clusterrole=cluster-admin", f"--serviceaccount={namespace}:owner"]
    kube.kubectl("-n", namespace, *binding)
    token = kube.kubectl("-n", namespace, "create", "token", "owner").stdout.strip()
    owner = replace(releases.helm, kubeconfig=with_user(kube, tmp_path / "owner", {"token": token}))
    by_owner = Releases(owner, kube)

    message = by_owner.refused(namespace)

    assert "is forbidden" in message
    assert f'User "system:serviceaccount:{namespace}:owner" cannot' in message
    assert 'resource "clusterroles"' in message or 'resource "customresourcedefinitions"' in message
    assert releases.leftovers() == set(), "a refused install leaves nothing behind"
    elsewhere = by_owner.refused(namespace, servedNamespaces=[other], **without_cluster_objects())
    assert f'in the namespace "{other}"' in elsewhere
    by_owner.install(namespace, servedNamespaces=[namespace], **without_cluster_objects())
    assert by_owner.revision(namespace) == (1, "deployed")
    by_owner.uninstall(namespace)


def without_cluster_objects() -> dict[str, dict[str, bool]]:
    """Return the values of an install that needs no right outside of its namespace."""
    return {"crds": {"enabled": False}, "admissionPolicy": {"enabled": False}}


def test_missing_crds_of_prometheus_are_named(releases: Releases, namespace: str) -> None:
    kube = releases.kube
    remove_monitoring_crds(kube)

    for name, kind in (("podMonitor", "PodMonitor"), ("prometheusRule", "PrometheusRule")):
        message = releases.refused(namespace, **{name: {"enabled": True}})
        assert f'no matches for kind "{kind}" in version "monitoring.coreos.com/v1"' in message
        assert "ensure CRDs are installed first" in message

    install_monitoring_crds(kube)
    releases.install(namespace, podMonitor={"enabled": True}, prometheusRule={"enabled": True})
    assert kube.get("PodMonitor", RELEASE, namespace) is not None
    assert kube.get("PrometheusRule", RELEASE, namespace) is not None
