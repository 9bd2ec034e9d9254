from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.golden.documents import MANIFESTS
from tests.helpers.fake_api_server import fake_api_server
from tests.helpers.paths import DATA
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.differences import differences, keeps_former_pods
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import CHILD_KINDS, MONITORING_KINDS
from vllm_operator.offline.report import judge_file

LIVE: dict[str, Any] = yaml.safe_load((DATA / "live" / "smallest-deployment.json").read_text())
OBJECTS = judge_file((MANIFESTS / "smallest.yaml").read_text(), "llm", MONITORING_KINDS, "free")[0].objects
DEPLOYMENT = next(body for body in OBJECTS if body["kind"] == "Deployment")
PATH = CHILD_KINDS["Deployment"].path("llm", "mistral")


def diff(folder: Path, answers: dict[str, tuple[int, Any]], objects: list[Any]) -> list[str]:
    with fake_api_server(answers, folder) as (server, path):
        found = differences(Cluster(ClusterOptions(kubeconfig=path)), "mistral", objects)
        for method, _, query, _ in server.asked:
            assert method == "GET" or query == {"fieldManager": "vllm-operator", "force": "true", "dryRun": "All"}
    return found


def test_equal_object_has_no_diff(tmp_path: Path) -> None:
    applied = {**LIVE, "metadata": {**LIVE["metadata"], "resourceVersion": "9", "managedFields": []}}
    assert diff(tmp_path, {f"GET {PATH}": (200, LIVE), f"PATCH {PATH}": (200, applied)}, [DEPLOYMENT]) == []


def test_change_is_a_unified_diff(tmp_path: Path) -> None:
    applied = {**LIVE, "spec": {**LIVE["spec"], "replicas": 5}}
    [text] = diff(tmp_path, {f"GET {PATH}": (200, LIVE), f"PATCH {PATH}": (200, applied)}, [DEPLOYMENT])
    assert "--- cluster/Deployment/mistral" in text
    assert "+  replicas: 5" in text


def without_drain(live: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(live)
    pod = found["spec"]["template"]["spec"]
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "drain"]
    return found


def keeps(folder: Path, live: dict[str, Any] | None, applied: dict[str, Any]) -> bool:
    answers: dict[str, tuple[int, Any]] = {f"PATCH {PATH}": (200, applied)}
    if live is not None:
        answers[f"GET {PATH}"] = (200, live)
    with fake_api_server(answers, folder) as (_, path):
        return keeps_former_pods(Cluster(ClusterOptions(kubeconfig=path)), [DEPLOYMENT])


def test_pods_from_before_the_middleware_stay_while_nothing_else_changes_them(tmp_path: Path) -> None:
    old = without_drain(LIVE)
    scaled = {**old, "spec": {**old["spec"], "replicas": 5}}

    assert keeps(tmp_path, old, scaled)
    assert not keeps(tmp_path, old, LIVE)
    assert not keeps(tmp_path, LIVE, LIVE)
    assert not keeps(tmp_path, None, LIVE)


def test_new_object_is_added_whole(tmp_path: Path) -> None:
    [text] = diff(tmp_path, {}, [DEPLOYMENT])
    assert text.startswith("--- /dev/null")
    assert "+kind: Deployment" in text


def test_child_that_the_spec_no_longer_asks_for_is_removed(tmp_path: Path) -> None:
    owner = {"name": "mistral", "controller": True}
    path = CHILD_KINDS["HorizontalPodAutoscaler"].path("llm", "mistral")
    own = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "mistral", "ownerReferences": [owner]}}
    [text] = diff(tmp_path, {f"GET {path}": (200, own)}, [])
    assert "+++ /dev/null" in text
    foreign = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "mistral"}}
    assert diff(tmp_path, {f"GET {path}": (200, foreign)}, []) == []


def test_secrets_in_a_diff_are_masked(tmp_path: Path) -> None:
    token = "hf_" + "AbCdEfGh1234567890"
    body = {
        "kind": "Deployment",
        "metadata": {"name": "mistral"},
        "spec": {"env": [{"name": "HF_TOKEN", "value": token}]},
    }
    [text] = diff(tmp_path, {}, [body])
    assert token not in text
