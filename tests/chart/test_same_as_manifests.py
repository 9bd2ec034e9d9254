"""The chart installs what `python -m vllm_operator manifests` prints, for each option that both have."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.chart.matrix import INSTALLS, NAMESPACE, Install
from tools.chart.files import OPERATOR
from tools.chart.helm import Helm
from vllm_operator import __version__

Object = dict[str, Any]

HELM_LABELS = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
)
"""Labels that Helm's conventions ask for; objects that kubectl applies have none of them."""


def by_name(objects: list[Object]) -> dict[tuple[str, str, str], Object]:
    """Return objects by kind, namespace and name, without what only a chart adds."""
    found = {}
    for original in objects:
        body = copy.deepcopy(original)
        metadata = body["metadata"]
        for labels in (metadata.get("labels"), labels_of_pods(body)):
            for name in HELM_LABELS:
                (labels or {}).pop(name, None)
        if body["kind"] == "CustomResourceDefinition":
            # The CRD of the repository has no labels; the chart keeps it when it is uninstalled.
            metadata.pop("labels", None)
            assert metadata.pop("annotations", {"helm.sh/resource-policy": "keep"}) == {
                "helm.sh/resource-policy": "keep"
            }
        key = (body["kind"], metadata.get("namespace", ""), metadata["name"])
        assert key not in found, f"{key} is rendered twice"
        found[key] = body
    return found


def labels_of_pods(body: Object) -> Object | None:
    """Return the labels of the pod template of a Deployment."""
    if body["kind"] != "Deployment":
        return None
    labels: Object = body["spec"]["template"]["metadata"]["labels"]
    return labels


@pytest.mark.parametrize("install", INSTALLS.values(), ids=INSTALLS)
def test_release_holds_the_objects_of_the_install_file(helm: Helm, install: Install) -> None:
    release = helm.template(OPERATOR, release="vllm-operator", namespace=NAMESPACE, values=install.values)

    expected = by_name(install.manifests(f"vllm-operator:{__version__}"))
    found = by_name(release)

    assert set(found) == set(expected)
    for key, body in expected.items():
        assert found[key] == body, key


def test_every_option_of_the_command_is_in_the_matrix() -> None:
    rights = [install.rights for install in INSTALLS.values()]

    assert {(one.pod_template, one.secrets) for one in rights} == {
        (template, secrets) for template in ("restricted", "free") for secrets in ("labelled", "all")
    }
    assert {one.restart_stalled for one in rights} == {one.network_policies for one in rights} == {True, False}
    assert len({one.metrics_from for one in rights}) > 1
    assert {one.monitoring for one in INSTALLS.values()} > {INSTALLS["default"].monitoring}
