"""The sample GitOps repository: every environment renders, and the operator accepts each server in it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.programs import built
from tests.helpers.paths import REPOSITORY
from tools.chart.files import OPERATOR
from tools.chart.helm import Helm
from vllm_operator.api.names import KIND
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

Object = dict[str, Any]

SAMPLE = REPOSITORY / "examples" / "gitops"
ENVIRONMENTS = {
    "dev": {"mistral", "qwen"},
    "staging": {"mistral", "qwen"},
    "prod": {"mistral", "mistral-canary", "qwen"},
}


def render(environment: str) -> list[Object]:
    """Return the objects of an environment, as Flux and Argo CD render them."""
    command = [built("kubectl"), "kustomize", SAMPLE / "environments" / environment]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def documents(name: str) -> list[Object]:
    """Return the objects of a file of the sample."""
    return [body for body in yaml.safe_load_all((SAMPLE / name).read_text()) if body]


def servers(environment: str) -> dict[str, Object]:
    """Return the servers of an environment by name."""
    return {body["metadata"]["name"]: body for body in render(environment) if body["kind"] == KIND}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_operator_accepts_every_server(environment: str) -> None:
    found = servers(environment)

    assert set(found) == ENVIRONMENTS[environment]
    for name, body in found.items():
        assert body["metadata"]["namespace"] == f"llm-{environment}"
        body["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000000", "generation": 1}
        desired = desired_state(body, MONITORING_KINDS)
        assert (desired.problems, desired.warnings) == ((), ()), name


def test_canary_is_the_same_model_with_another_vllm() -> None:
    found = servers("prod")
    stable, canary = found["mistral"]["spec"], found["mistral-canary"]["spec"]

    assert canary["model"] == stable["model"]
    assert canary["image"] != stable["image"]
    assert canary["image"] == servers("staging")["mistral"]["spec"]["image"], "it was tried in staging"
    assert "autoscaling" in stable
    assert canary["replicas"] == 1


def test_route_divides_the_requests_between_both_services() -> None:
    (route,) = [body for body in render("prod") if body["kind"] == "HTTPRoute"]
    (rule,) = route["spec"]["rules"]
    services = {}
    for name, body in servers("prod").items():
        body["metadata"] |= {"uid": "0", "generation": 1}
        for manifest in desired_state(body, MONITORING_KINDS).manifests:
            if manifest.kind == "Service":
                services[manifest.body["metadata"]["name"]] = manifest.body["spec"]["ports"][0]["port"]
                assert name == manifest.body["metadata"]["name"]

    assert route["metadata"]["namespace"] == "llm-prod"
    assert {one["name"]: one["port"] for one in rule["backendRefs"]}.items() <= services.items()
    assert sum(one["weight"] for one in rule["backendRefs"]) == 100


def test_values_of_the_operator_are_accepted(helm4: Helm) -> None:
    values = yaml.safe_load((SAMPLE / "operator" / "values.yaml").read_text())
    (release,) = [body for body in documents("flux/operator/operator.yaml") if body["kind"] == "HelmRelease"]

    for one in (values, release["spec"]["values"]):
        objects = helm4.template(OPERATOR, release="vllm-operator", namespace="vllm-operator-system", values=one)
        (deployment,) = [body for body in objects if body["kind"] == "Deployment"]
        assert deployment["spec"]["replicas"] == 2


def test_flux_and_argo_cd_apply_folders_that_exist() -> None:
    flux = [body for body in documents("flux/fleet.yaml") if body["kind"] == "Kustomization"]
    operator, models = documents("argocd/applications.yaml")

    for path in (*(one["spec"]["path"] for one in flux), models["spec"]["source"]["path"]):
        assert (SAMPLE / path / "kustomization.yaml").is_file()
    for path in operator["spec"]["sources"][0]["helm"]["valueFiles"]:
        assert (SAMPLE / path.removeprefix("$fleet/")).is_file()
    (root,) = documents("argocd/root.yaml")
    applied = {path.name for path in (SAMPLE / root["spec"]["source"]["path"]).iterdir()}
    assert applied - {root["spec"]["source"]["directory"]["exclude"]} == {"applications.yaml"}
    waves = [int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for one in (operator, models)]
    assert waves == sorted(set(waves)), "the CRD is there before the first server"
    assert [one["spec"]["wait"] for one in flux] == [True, True]
    assert flux[1]["spec"]["dependsOn"] == [{"name": flux[0]["metadata"]["name"]}]


def test_every_folder_is_part_of_an_environment() -> None:
    named = {path.name for path in (SAMPLE / "models").iterdir()}
    texts = "".join(path.read_text() for path in Path(SAMPLE / "environments").rglob("kustomization.yaml"))

    assert [name for name in named if f"models/{name}" not in texts] == []
