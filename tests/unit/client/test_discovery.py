from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server, status_object
from vllm_operator.client import ClientConfig, DiscoveryFailed, ModelNotReady
from vllm_operator.client.cluster_api import ClusterApi
from vllm_operator.client.discovery import (
    find_server,
    parsed_reference,
    read_server,
    ready_endpoint,
    with_api_key,
)

GROUP = "/apis/vllm-operator.dev/v1alpha1"
FOLDER = f"{GROUP}/namespaces/llm/vllmservers"
SECRET = "/api/v1/namespaces/llm/secrets/clients"
READY: dict[str, Any] = {"endpoint": "http://mistral.llm.svc:80", "healthyReplicas": 1, "phase": "Serving"}


def server(name: str = "mistral", namespace: str = "llm", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": READY}


def with_secret() -> dict[str, Any]:
    return server(security={"apiKeySecretRef": {"name": "clients"}})


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeApiServer]:
    with fake_api_server({}, tmp_path) as (found, _):
        yield found


@pytest.fixture
def api(fake: FakeApiServer) -> ClusterApi:
    configuration = Configuration()
    configuration.host = fake.url
    return ClusterApi(configuration, "llm", inside=True)


def missing(name: str) -> tuple[int, Any]:
    return 404, status_object(404, "NotFound", f'vllmservers.vllm-operator.dev "{name}" not found')


def test_reference_takes_the_current_namespace_when_it_has_none() -> None:
    assert parsed_reference("mistral", "llm") == ("llm", "mistral")
    assert parsed_reference("a/b", "llm") == ("a", "b")


@pytest.mark.parametrize("reference", ["", "/", "a/", "A/b", "a/b/c", "a b", "a/../b", "x" * 300])
def test_reference_that_is_no_name_is_refused(reference: str) -> None:
    with pytest.raises(DiscoveryFailed, match="names no VLLMServer"):
        parsed_reference(reference, "llm")


def test_unknown_server_names_the_nearest(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[f"GET {FOLDER}/mistrl"] = missing("mistrl")
    fake.answers[f"GET {GROUP}/vllmservers"] = 200, {"items": [server(), server("qwen", "other")]}
    with pytest.raises(DiscoveryFailed, match=r"llm/mistrl does not exist: did you mean llm/mistral\?"):
        read_server(api, "llm", "mistrl")


def test_server_of_another_namespace_is_named(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[f"GET {FOLDER}/qwen"] = missing("qwen")
    fake.answers[f"GET {GROUP}/vllmservers"] = 200, {"items": [server(), server("qwen", "other")]}
    with pytest.raises(DiscoveryFailed, match="did you mean other/qwen"):
        read_server(api, "llm", "qwen")


def test_unknown_server_lists_its_namespace_when_no_more_may_be_read(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[f"GET {FOLDER}/zzz"] = missing("zzz")
    fake.answers[f"GET {GROUP}/vllmservers"] = 403, status_object(403, "Forbidden", "no")
    fake.answers[f"GET {FOLDER}"] = 200, {"items": [server()]}
    with pytest.raises(DiscoveryFailed, match="there are llm/mistral"):
        read_server(api, "llm", "zzz")


def test_cluster_without_the_kind_says_to_install_the_operator(api: ClusterApi) -> None:
    with pytest.raises(DiscoveryFailed, match="no kind VLLMServer: install vllm-operator"):
        read_server(api, "llm", "mistral")


def test_missing_right_shows_how_to_check_it(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[f"GET {FOLDER}/mistral"] = 403, status_object(403, "Forbidden", "User jane cannot get it")
    with pytest.raises(DiscoveryFailed, match=r"jane cannot get it; check with: kubectl auth can-i get vllmservers"):
        read_server(api, "llm", "mistral")


def test_pod_without_rights_uses_the_service(
    fake: FakeApiServer, api: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers[f"GET {FOLDER}/mistral"] = 403, status_object(403, "Forbidden", "no")
    monkeypatch.setattr("vllm_operator.client.discovery.connect", lambda *_: api)
    assert find_server("llm/mistral").config.base_url == "http://mistral.llm.svc"


def test_ready_server_is_called_at_its_endpoint_in_a_pod(
    fake: FakeApiServer, api: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers[f"GET {FOLDER}/mistral"] = 200, server()
    monkeypatch.setattr("vllm_operator.client.discovery.connect", lambda *_: api)
    found = find_server("llm/mistral", ClientConfig(max_tokens=7))
    assert (found.config.base_url, found.config.max_tokens) == ("http://mistral.llm.svc:80", 7)


def test_server_that_is_not_ready_shows_its_cause() -> None:
    found = {"status": {"phase": "Failed", "message": "0/1 replicas serve; mistral-1: CUDA out of memory"}}
    with pytest.raises(ModelNotReady, match="its phase is Failed: 0/1 replicas serve; mistral-1: CUDA out of memory"):
        ready_endpoint(found, "llm", "mistral")


def test_server_without_status_asks_for_the_operator() -> None:
    with pytest.raises(ModelNotReady, match="is the operator running"):
        ready_endpoint({}, "llm", "mistral")


def test_api_key_comes_from_the_secret(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[f"GET {SECRET}"] = 200, {"data": {"token": base64.b64encode(b"key-1\n").decode()}}
    found = with_api_key(api, with_secret(), "llm", ClientConfig())
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "key-1"


def test_given_api_key_is_used_without_reading_the_secret(fake: FakeApiServer, api: ClusterApi) -> None:
    config = ClientConfig(api_key="mine")  # type: ignore[arg-type]
    assert with_api_key(api, with_secret(), "llm", config) is config
    assert fake.asked == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, status_object(404, "NotFound", 'secrets "clients" not found')), "does not exist: create it"),
        ((403, status_object(403, "Forbidden", "no")), "no right to read Secret llm/clients"),
        ((200, {"data": {"other": "eA=="}}), "has no text at the key 'token'"),
        ((200, {"data": {"token": "???"}}), "has no text at the key 'token'"),
    ],
)
def test_unusable_secret_is_named(fake: FakeApiServer, api: ClusterApi, answer: tuple[int, Any], message: str) -> None:
    fake.answers[f"GET {SECRET}"] = answer
    with pytest.raises(DiscoveryFailed, match=message):
        with_api_key(api, with_secret(), "llm", ClientConfig())


def test_server_that_is_not_ready_is_found_through_a_kubeconfig(fake: FakeApiServer, tmp_path: Path) -> None:
    fake.answers[f"GET {FOLDER}/mistral"] = (
        200,
        {**server(), "status": {"phase": "Loading", "message": "it loads"}},
    )
    with pytest.raises(ModelNotReady, match="llm/mistral is not ready, its phase is Loading: it loads"):
        find_server("mistral", kubeconfig=tmp_path / "kubeconfig")


def test_server_without_ready_pods_is_not_forwarded_to(fake: FakeApiServer, tmp_path: Path) -> None:
    fake.answers[f"GET {FOLDER}/mistral"] = 200, server()
    fake.answers["GET /api/v1/namespaces/llm/pods"] = 200, {"items": []}
    with pytest.raises(ModelNotReady, match="no replica that is ready"):
        find_server("llm/mistral", kubeconfig=tmp_path / "kubeconfig")
