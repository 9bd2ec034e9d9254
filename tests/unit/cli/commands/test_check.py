from __future__ import annotations

import json

from tests.golden.documents import MANIFESTS
from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.helpers.plugin import plugin
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import SERVER

SMALLEST = (MANIFESTS / "smallest.yaml").read_text()


def levels(text: str) -> dict[str, str]:
    return {item["id"]: item["level"] for entry in json.loads(text) for item in entry["items"]}


def test_manifest_is_checked_without_a_cluster() -> None:
    ended = plugin("check", "-f", "-", stdin=SMALLEST, environment={"KUBECONFIG": "/no/such"})
    assert ended.code == 0
    assert ended.stdout.startswith("default/mistral: ")
    assert "    warn    Several replicas behind one address: replicas is 1" in ended.stdout
    assert "            do: set replicas to 2 or more" in ended.stdout


def test_failed_item_ends_with_1_and_strict_counts_warnings() -> None:
    public = SMALLEST + "  service: {type: LoadBalancer}\n"
    assert plugin("check", "-f", "-", stdin=public).code == 1
    assert plugin("check", "-f", "-", "--strict", stdin=SMALLEST).code == 1


def test_refused_manifest_is_named() -> None:
    ended = plugin("check", "-f", "-", stdin=SMALLEST + "  replicas: x\n")
    assert ended.code == 1
    assert "default/mistral is refused" in ended.stderr
    assert "spec.replicas: must be of type integer" in ended.stderr


def test_server_of_the_cluster_is_checked_with_its_status(run: Run) -> None:
    ended = run("check", "crashed", "-o", "json")
    assert ended.code == 1
    assert levels(ended.stdout)["replicas"] == "fail"


def test_cluster_is_checked_too(run: Run, api: FakeApiServer) -> None:
    review = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    api.answers[review] = (201, {"status": {"allowed": False}})
    found = levels(run("check", "--cluster", "-o", "json").stdout)
    assert set(found) == {"crd", "operator", "metrics-api", "monitoring-crds", "devices", "storage", "rights"}
    assert found["crd"] == "fail"
    assert found["rights"] == "warn"


def test_spec_that_cannot_be_read_is_named(run: Run, api: FakeApiServer) -> None:
    body = {"metadata": {"name": "mistral", "namespace": "llm"}, "spec": {"model": 3}}
    api.answers[f"GET {SERVER.path('llm', 'mistral')}"] = (200, body)
    ended = run("check", "mistral")
    assert ended.code == 1
    assert ended.stderr.startswith("error: mistral: spec.model")


def test_missing_right_to_nodes_leaves_the_rest(run: Run, api: FakeApiServer) -> None:
    api.answers["GET /api/v1/nodes"] = (403, status_object(403, "Forbidden", "no"))
    assert levels(run("check", "mistral", "-o", "json").stdout)["parallelism"] == "pass"


def test_file_with_names_is_a_usage_error() -> None:
    assert plugin("check", "a", "-f", "-", stdin=SMALLEST).code == 2
