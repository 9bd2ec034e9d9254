"""The OLM bundle passes the validators of operator-sdk, and holds the objects of `manifests`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.chart.programs import built
from tools.chart.olm import BUNDLE, NAMESPACE, NO_METRICS_API
from tools.chart.olm_install import installed
from vllm_operator.api.crd import crd
from vllm_operator.api.gateway_crd import gateway_crd
from vllm_operator.desired.state import desired_state
from vllm_operator.install.manifests import operator_manifests

VERSION_FILE = "vllm-operator.clusterserviceversion.yaml"


def validate(folder: Path) -> tuple[int, str]:
    """Return exit code and findings of the validators."""
    done = subprocess.run([built("olm-validate"), folder], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def service_version() -> Any:
    """Return the ClusterServiceVersion of the bundle."""
    return yaml.safe_load((BUNDLE / "manifests" / VERSION_FILE).read_text())


def test_validators_find_no_error() -> None:
    code, findings = validate(BUNDLE / "manifests")

    assert (code, [line for line in findings.splitlines() if line.startswith("error")]) == (0, [])


def test_validators_find_a_broken_bundle(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLE / "manifests", tmp_path / "manifests"))
    body = service_version()
    body["spec"]["customresourcedefinitions"]["owned"][0]["name"] = "others.example.org"
    (folder / VERSION_FILE).write_text(yaml.safe_dump(body))

    code, findings = validate(folder)

    assert code == 1
    assert 'error: owned CRD "example.org/v1alpha1, Kind=VLLMServer" not found in bundle' in findings


def test_bundle_holds_deployment_and_rights_of_the_install_file() -> None:
    manifests = operator_manifests("vllm-operator:0.1.0", NAMESPACE, rights=NO_METRICS_API)
    objects = {body["kind"]: body for body in manifests}
    rules = [rule for body in manifests if body["kind"] == "ClusterRole" for rule in body["rules"]]
    install = service_version()["spec"]["install"]["spec"]

    (deployment,) = install["deployments"]
    assert deployment["spec"] == objects["Deployment"]["spec"]
    assert install["clusterPermissions"][0]["rules"] == rules
    assert install["permissions"][0]["rules"] == objects["Role"]["rules"]
    assert yaml.safe_load((BUNDLE / "manifests" / "vllmservers.vllm-operator.dev.crd.yaml").read_text()) == crd()
    assert (
        yaml.safe_load((BUNDLE / "manifests" / "vllmgateways.vllm-operator.dev.crd.yaml").read_text()) == gateway_crd()
    )


def test_example_of_the_console_is_accepted() -> None:
    (example,) = json.loads(service_version()["metadata"]["annotations"]["alm-examples"])
    example["metadata"] |= {"namespace": "llm", "uid": "0", "generation": 1}

    assert desired_state(example, frozenset()).problems == ()


def test_labels_of_the_image_are_the_annotations() -> None:
    annotations = yaml.safe_load((BUNDLE / "metadata" / "annotations.yaml").read_text())["annotations"]
    dockerfile = (BUNDLE / "bundle.Dockerfile").read_text()

    assert [name for name, value in annotations.items() if f"{name}={value}" not in dockerfile] == []


def test_steps_of_olm_keep_what_the_bundle_says() -> None:
    given = service_version()
    objects = installed("ops", "r.example/o@sha256:0")
    found = {body["kind"]: body for body in objects}

    assert [body for body in objects if body["kind"] == "CustomResourceDefinition"] == [crd(), gateway_crd()]
    install = given["spec"]["install"]["spec"]
    for kind, key in (("Role", "permissions"), ("ClusterRole", "clusterPermissions")):
        assert found[kind]["rules"] == install[key][0]["rules"]
        binding = found[f"{kind}Binding"]
        assert binding["roleRef"]["name"] == found[kind]["metadata"]["name"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "vllm-operator", "namespace": "ops"}]
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert "--gateway-agent-image=r.example/o@sha256:0" in container["args"]
    assert {body["metadata"].get("namespace", "ops") for body in objects} == {"ops"}
    template = found["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["image"] == "r.example/o@sha256:0"
    assert {"name": "OPERATOR_CONDITION_NAME", "value": given["metadata"]["name"]} in container["env"]
    # Annotations of the bundle reach the pod, so each must be a text.
    assert all(isinstance(value, str) for value in template["metadata"]["annotations"].values())
    assert all(len(body["metadata"]["name"]) <= 63 for body in objects if body["kind"] != "CustomResourceDefinition")
