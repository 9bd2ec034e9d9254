from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.operator_state import operator_findings
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import DEPLOYMENT


def findings(folder: Path, answer: tuple[int, Any]) -> list[tuple[str, str]]:
    with fake_api_server({f"GET {DEPLOYMENT.path()}": answer}, folder) as (_, path):
        return [(found.level, found.message) for found in operator_findings(Cluster(ClusterOptions(kubeconfig=path)))]


def deployment(**status: Any) -> tuple[int, Any]:
    body = {"metadata": {"name": "vllm-operator", "namespace": "system"}, "spec": {"replicas": 1}, "status": status}
    return 200, {"items": [body]}


def test_available_operator_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, deployment(availableReplicas=1)) == []


def test_unavailable_operator_is_a_problem_with_the_cause(tmp_path: Path) -> None:
    conditions = [{"type": "Available", "status": "False", "message": "no minimum availability"}]
    [(level, message)] = findings(tmp_path, deployment(conditions=conditions))
    assert level == "problem"
    assert message.startswith("no minimum availability: kubectl -n system describe pods")


def test_operator_of_zero_replicas_is_a_problem(tmp_path: Path) -> None:
    code, body = deployment()
    body["items"][0]["spec"]["replicas"] = 0
    [(level, message)] = findings(tmp_path, (code, body))
    assert (level, "scale it to 1" in message) == ("problem", True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [((200, {"items": []}), "no Deployment with the label"), ((403, status_object(403, "Forbidden", "")), "no right")],
)
def test_operator_that_is_not_seen_is_unknown(tmp_path: Path, answer: tuple[int, Any], words: str) -> None:
    [(level, message)] = findings(tmp_path, answer)
    assert (level, words in message) == ("unknown", True)
