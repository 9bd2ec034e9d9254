"""The rendered objects equal the golden files, for servers from the smallest to the fullest and for the operator."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.golden import documents
from tests.integration.fields import leaves
from vllm_operator.api.server import parse_server
from vllm_operator.desired.rendering import manifests
from vllm_operator.desired.rendering.templates import template_folder
from vllm_operator.desired.state import desired_state
from vllm_operator.install import manifests as install
from vllm_operator.install.manifests import MonitoringOptions, operator_manifests, to_yaml
from vllm_operator.kube.kinds import MONITORING_API, MONITORING_KINDS, SCALED_OBJECT

NAMES = sorted(path.stem for path in documents.MANIFESTS.glob("*.yaml"))


def rendered(name: str) -> list[Any]:
    """Return the children of a server of the folder, in the order in which they are applied."""
    desired = desired_state(documents.load(name), MONITORING_KINDS | {SCALED_OBJECT})
    assert desired.problems == ()
    return [manifest.body for manifest in desired.manifests]


def operator(*served: str) -> list[Any]:
    """Return the objects of the operator, without the CRD, which has its own file."""
    found = operator_manifests("registry.example/vllm-operator:1.2.3", "vllm-operator-system", served)
    return [body for body in found if body["kind"] != "CustomResourceDefinition"]


@pytest.mark.parametrize("name", NAMES)
def test_server(name: str) -> None:
    documents.check(name, rendered(name))


def test_operator() -> None:
    documents.check("operator", operator())


def test_namespaced_operator() -> None:
    documents.check("operator-namespaced", operator("team-a", "team-b"))


def test_monitoring_of_the_operator() -> None:
    watching = MonitoringOptions(pod_monitor=True, rules=True, runbooks="https://wiki.example/%s")
    found = operator_manifests("registry.example/vllm-operator:1.2.3", "vllm-operator-system", (), watching)
    documents.check("operator-monitoring", [body for body in found if body["apiVersion"] == MONITORING_API])
    (deployment,) = [body for body in found if body["kind"] == "Deployment"]
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[-1] == "--runbook-url=https://wiki.example/%s"


def test_no_golden_file_is_left_over() -> None:
    operators = {"operator", "operator-namespaced", "operator-monitoring"}
    assert {path.stem for path in documents.EXPECTED.glob("*.yaml")} == {*NAMES, *operators}


def test_every_template_of_a_server_is_shown() -> None:
    assert {body["kind"] for name in NAMES for body in rendered(name)} == set(manifests.TEMPLATES)


def test_every_template_of_the_operator_is_used() -> None:
    used = {
        "namespace",
        "serviceaccount",
        *install.CLUSTER_WIDE,
        *install.NAMESPACED,
        *install.METRICS_API,
        *install.GATEWAYS,
        *install.OWN,
        install.POD_MONITOR,
        install.NETWORK_POLICY,
    }
    assert {path.name.partition(".")[0] for path in (template_folder() / "deploy").iterdir()} == used


def test_namespaced_operator_has_nothing_cluster_wide_but_namespace_crd_and_admission_policy() -> None:
    found = operator_manifests("registry.example/vllm-operator:1.2.3", "vllm-operator-system", ["team-a"])
    assert [body["kind"] for body in found if body["kind"] in install.CLUSTER_OBJECTS] == [
        "Namespace",
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    assert {body["metadata"]["namespace"] for body in found if body["kind"] == "Role"} == {
        "vllm-operator-system",
        "team-a",
    }


def test_manifests_together_set_every_field() -> None:
    specs = [documents.load(name)["spec"] for name in NAMES]
    alternatives = {"scheduling.topologySpreadConstraints[].labelSelector"}
    newer = {
        "engine.command",
        "rollout.autoRollback",
        "rollout.waitForIdle",
        "rollout.waitForIdleSeconds",
    }  # Tested by themselves: released manifests stay as they are.
    optional = {"engine.env[].valueFrom.secretKeyRef.optional", "engine.env[].valueFrom.fieldRef.apiVersion"}

    missing = {path for path in leaves() if not any(found(spec, path.split(".")) for spec in specs)}

    assert {path for path in missing if not path.startswith("autoscaling.behavior")} == alternatives | newer | optional


def found(place: Any, steps: list[str]) -> bool:
    """Return whether a path is set; `[]` in it stands for any item."""
    if not steps:
        return True
    name, many = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    if not isinstance(place, dict) or name not in place:
        return False
    return any(found(item, steps[1:]) for item in (place[name] if many else [place[name]]))


@pytest.mark.parametrize("name", NAMES)
def test_manifests_are_parsed_as_they_are_written(name: str) -> None:
    body = documents.load(name)
    server = parse_server(body)

    assert server.spec.model_dump(mode="json", by_alias=True, exclude_unset=True) == body["spec"]


def test_text_of_the_operators_manifests_is_what_was_rendered() -> None:
    objects = operator_manifests("registry.example/vllm-operator:1.2.3", "vllm-operator-system")

    assert list(yaml.safe_load_all(to_yaml(objects))) == objects


def test_operators_objects_are_all_in_its_namespace() -> None:
    scoped = [body for body in operator() if body["kind"] not in install.CLUSTER_OBJECTS]

    assert {body["metadata"]["namespace"] for body in scoped} == {"vllm-operator-system"}
    assert operator()[0]["kind"] == "Namespace", "it must be there before what is in it"
