from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import Configuration

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server, status_object
from vllm_operator.client import DiscoveryFailed
from vllm_operator.client import cluster_api as module
from vllm_operator.client.cluster_api import ClusterApi, Forbidden, NotFound, connect


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeApiServer]:
    with fake_api_server({}, tmp_path) as (found, _):
        yield found


@pytest.fixture
def api(fake: FakeApiServer) -> ClusterApi:
    configuration = Configuration()
    configuration.host = fake.url
    configuration.api_key["authorization"] = "t"
    configuration.api_key_prefix["authorization"] = "Bearer"
    return ClusterApi(configuration, "llm", inside=False)


def test_object_is_returned(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers["GET /api/v1/pods"] = 200, {"items": []}
    assert api.get("/api/v1/pods", {"limit": "5"}) == {"items": []}
    assert fake.asked[0][2] == {"limit": "5"}
    assert api.headers()["authorization"] == "Bearer t"


@pytest.mark.parametrize("code", [401, 403])
def test_refusal_has_the_message_of_the_api_server(fake: FakeApiServer, api: ClusterApi, code: int) -> None:
    fake.answers["GET /api/v1/pods"] = code, status_object(code, "Forbidden", "jane may not")
    with pytest.raises(Forbidden, match="jane may not"):
        api.get("/api/v1/pods")


def test_missing_object_and_missing_kind_differ(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers["GET /api/v1/pods/a"] = 404, status_object(404, "NotFound", 'pods "a" not found')
    with pytest.raises(NotFound) as of_object:
        api.get("/api/v1/pods/a")
    with pytest.raises(NotFound) as of_kind:
        api.get("/apis/nothing.example/v1/things")
    assert (of_object.value.is_object, of_kind.value.is_object) == (True, False)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"7"])
def test_answer_that_is_no_object_is_refused(fake: FakeApiServer, api: ClusterApi, body: bytes) -> None:
    fake.answers["GET /api/v1/pods"] = 200, body
    with pytest.raises(DiscoveryFailed, match="is this a Kubernetes API server"):
        api.get("/api/v1/pods")


def test_answer_beyond_the_bound_is_refused(
    fake: FakeApiServer, api: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10)
    fake.answers["GET /api/v1/pods"] = 200, {"items": ["x" * 50]}
    with pytest.raises(DiscoveryFailed, match="no object"):
        api.get("/api/v1/pods")


def test_cluster_that_does_not_answer_is_named() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:9"
    with pytest.raises(DiscoveryFailed, match=r"no cluster answers at http://127.0.0.1:9"):
        ClusterApi(configuration, "llm", inside=False).get("/api/v1/pods")


def test_missing_kubeconfig_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(DiscoveryFailed, match="set KUBECONFIG"):
        connect(tmp_path / "none")


def test_broken_kubeconfig_is_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[]")
    with pytest.raises(DiscoveryFailed, match="no cluster"):
        connect(tmp_path / "config")
