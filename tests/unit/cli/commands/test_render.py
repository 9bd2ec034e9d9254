from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.golden.documents import EXPECTED, MANIFESTS
from tests.helpers import plugin_world
from tests.helpers.fake_api_server import fake_api_server
from tests.helpers.plugin import plugin
from vllm_operator.kube.kinds import DEPLOYMENT

ACCEPTED = (MANIFESTS / "smallest.yaml").read_text()


def test_accepted_manifest_prints_its_objects() -> None:
    ended = plugin("render", "-f", "-", stdin=ACCEPTED)
    assert ended.code == 0
    assert {body["kind"] for body in yaml.safe_load_all(ended.stdout)} >= {"Deployment", "Service"}


def test_refused_manifest_ends_with_1_and_names_the_field() -> None:
    ended = plugin("render", "-f", "-", stdin=ACCEPTED + "  replicas: many\n")
    assert ended.code == 1
    assert ended.stdout == ""
    assert "refused: spec.replicas: must be of type integer" in ended.stderr


def test_json_has_problems_and_objects() -> None:
    result = json.loads(plugin("render", "-f", "-", "-o", "json", stdin=ACCEPTED).stdout)
    assert result["accepted"]
    assert result["objects"]


def test_kinds_of_monitoring_can_be_left_out() -> None:
    ended = plugin("render", "-f", "-", "--no-monitoring-crds", stdin=ACCEPTED)
    assert "PodMonitor" not in ended.stdout


@pytest.mark.parametrize(("text", "words"), [("", "the file is empty"), ("a: [", "not valid YAML")])
def test_unreadable_file_is_refused(text: str, words: str) -> None:
    ended = plugin("render", "-f", "-", stdin=text)
    assert ended.code == 1
    assert words in ended.stderr


def test_missing_file_is_a_usage_error() -> None:
    assert plugin("render", "-f", "/no/such/file").code == 2


def test_pod_templates_are_judged_in_the_restricted_mode_unless_free() -> None:
    text = ACCEPTED + "  podTemplate: {spec: {hostNetwork: true}}\n"
    assert "spec.podTemplate.spec.hostNetwork" in plugin("render", "-f", "-", stdin=text).stderr
    assert plugin("render", "-f", "-", "--pod-template=free", stdin=text).code == 0


def without_identity(objects: Iterable[Any]) -> list[Any]:
    """Return objects without the UID of their owner, which the API server gives, and what is made from it."""
    text = json.dumps(list(objects))
    text = re.sub(r'"(uid|vllm-operator\.dev/applied-hash)": "[^"]*"', r'"\1": ""', text)
    return [json.loads(re.sub(r'"[0-9a-f]{32}"', '""', text))]


@pytest.mark.parametrize("name", sorted(path.stem for path in MANIFESTS.glob("*.yaml")))
def test_objects_are_those_that_the_operator_applies(name: str) -> None:
    """The golden files hold what the operator applies; the integration test compares with a real API server."""
    manifest = (MANIFESTS / f"{name}.yaml").read_text()
    ended = plugin("render", "-f", "-", "-n", "llm", "--pod-template", "free", "-o", "json", stdin=manifest)
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    expected = list(yaml.safe_load_all((EXPECTED / f"{name}.yaml").read_text()))
    kinds = {body["kind"] for body in expected}
    rendered = [body for body in result["objects"] if body["kind"] in kinds]
    assert without_identity(rendered) == without_identity(expected)


def test_diff_shows_what_would_change(tmp_path: Path) -> None:
    answers = plugin_world.answers()
    with fake_api_server(answers, tmp_path) as (server, kubeconfig):
        same = plugin("render", "-f", "-", "--diff", "--kubeconfig", kubeconfig, stdin=ACCEPTED)
        path = DEPLOYMENT.path("llm", "mistral")
        changed = json.loads(json.dumps(server.answers[f"GET {path}"][1]))
        changed["spec"]["replicas"] = 7
        server.answers[f"PATCH {path}"] = (200, changed)
        other = plugin("render", "-f", "-", "--diff", "--kubeconfig", kubeconfig, stdin=ACCEPTED)
        refused = plugin("render", "-f", "-", "--diff", "--kubeconfig", kubeconfig, stdin=ACCEPTED + "  replicas: x\n")
    assert (other.code, "+  replicas: 7" in other.stdout) == (1, True)
    assert (refused.code, "refused: spec.replicas" in refused.stderr) == (1, True)
    assert "+++ manifest/Deployment" not in same.stdout


def test_diff_with_a_target_is_a_usage_error() -> None:
    assert plugin("render", "-f", "-", "--diff", "--target", "compose", stdin=ACCEPTED).code == 2
