"""The commands that people type, with the real kubectl."""

from __future__ import annotations

import json

from tests.integration.servers import Servers, manifest
from tools.harness.kube import KIND, Object


def test_kubectl_scale_changes_the_replicas(servers: Servers) -> None:
    servers.create("scaled")
    servers.kube.kubectl("-n", servers.namespace, "scale", "vllmserver/scaled", "--replicas=3")
    servers.settled("scaled")
    assert servers.child("Deployment", "scaled")["spec"]["replicas"] == 3
    scale = servers.kube.kubectl("get", "--raw", scale_path(servers, "scaled")).stdout
    servers.kube.eventually(lambda: json.loads(scale)["spec"]["replicas"] == 3, within=5)


def scale_path(servers: Servers, name: str) -> str:
    return f"/apis/vllm-operator.dev/v1alpha1/namespaces/{servers.namespace}/vllmservers/{name}/scale"


def test_scale_subresource_shows_replicas_and_selector(servers: Servers) -> None:
    servers.create("scaled", {"replicas": 2})

    def is_scaled() -> None:
        scale = json.loads(servers.kube.kubectl("get", "--raw", scale_path(servers, "scaled")).stdout)
        assert scale["status"]["replicas"] == 2
        selector = scale["status"]["selector"]
        pods = servers.kube.list("Pod", servers.namespace, selector)
        assert len(pods) == 2
        assert {pod["metadata"]["labels"]["app.kubernetes.io/instance"] for pod in pods} == {"scaled"}

    servers.kube.eventually(is_scaled, within=10, namespace=servers.namespace)


def test_kubectl_wait_for_a_condition_ends_when_it_holds(servers: Servers) -> None:
    servers.kube.apply(manifest("waited", {}), namespace=servers.namespace)
    command = ("-n", servers.namespace, "wait", "vllmserver/waited")
    servers.kube.kubectl(*command, "--for=condition=Accepted", "--timeout=10s")
    answer = servers.kube.kubectl(*command, "--for=condition=Ready", "--timeout=1s", check=False)
    assert answer.code != 0
    assert "timed out" in answer.stderr


def test_every_condition_is_of_the_present_generation_and_explains_itself(servers: Servers) -> None:
    servers.create("scaled")
    server = servers.patch("scaled", {"replicas": 2})
    conditions = server["status"]["conditions"]
    kinds = {entry["type"] for entry in conditions}
    assert {"Ready", "Accepted", "Progressing", "Available", "EngineHealthy", "MonitoringActive", "Stalled"} <= kinds
    assert {entry["observedGeneration"] for entry in conditions} == {server["metadata"]["generation"]}
    assert [entry for entry in conditions if not entry["reason"][0].isupper() or " " in entry["reason"]] == []
    assert [entry["type"] for entry in conditions if entry["status"] == "False" and not entry["message"]] == []


def test_status_that_someone_edits_is_put_back(servers: Servers) -> None:
    """Also what they add, which an apply alone leaves: a field, a condition."""
    servers.create("edited")
    servers.kube.eventually(lambda: servers.get("edited")["status"]["replicas"] == 1, within=10)
    status = servers.get("edited")["status"]
    theirs = {**status["conditions"][0], "type": "Theirs"}
    edits: list[Object] = [
        {"phase": "Serving", "version": "9.9.9", "capacity": {"concurrency": 3}},
        {"conditions": [*status["conditions"], theirs]},
    ]
    for edit in edits:
        servers.kube.patch(KIND, "edited", servers.namespace, {"status": edit}, status=True)
        servers.kube.eventually(
            lambda: servers.get("edited")["status"] == status, within=10, namespace=servers.namespace
        )


def test_describe_shows_an_event_for_what_happened(servers: Servers) -> None:
    servers.create("scaled", {"engine": {"maxModelLen": 1, "extraArgs": ["--max-model-len=2"]}})

    def described() -> None:
        text = servers.kube.kubectl("-n", servers.namespace, "describe", "vllmserver", "scaled").stdout
        assert "spec.engine.extraArgs[0]" in text.partition("Events:")[2]

    servers.kube.eventually(described, within=10, namespace=servers.namespace)


def test_applying_the_same_manifest_again_says_unchanged(servers: Servers) -> None:
    body = manifest("same", {"replicas": 2, "engine": {"gpuMemoryUtilization": 0.9}})
    assert "created" in servers.kube.apply(body, namespace=servers.namespace).stdout
    servers.settled("same")
    assert "unchanged" in servers.kube.apply(body, namespace=servers.namespace).stdout
    answer = servers.kube.kubectl("-n", servers.namespace, "diff", "-f", "-", stdin=json.dumps(body), check=False)
    assert (answer.code, answer.stdout) == (0, "")


def test_server_side_apply_by_two_managers_keeps_both_fields(servers: Servers) -> None:
    base = manifest("shared", {"replicas": 2})
    more = {**manifest("shared", {}), "spec": {"engine": {"env": [{"name": "A", "value": "1"}]}}}
    servers.kube.apply(base, "--server-side", "--field-manager=one", namespace=servers.namespace)
    servers.kube.apply(more, "--server-side", "--field-manager=two", namespace=servers.namespace)
    spec = servers.kube.must_get(KIND, "shared", servers.namespace)["spec"]
    assert (spec["replicas"], spec["engine"]["env"]) == (2, [{"name": "A", "value": "1"}])
