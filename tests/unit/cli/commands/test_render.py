from __future__ import annotations

import json

import pytest
import yaml

from tests.golden.documents import MANIFESTS
from tests.helpers.plugin import plugin

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
