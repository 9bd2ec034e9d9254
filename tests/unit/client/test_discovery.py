"""The address of a VLLMServer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.specs import server
from vllm_operator.client import discovery
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.discovery import ServerName, connect, service_url
from vllm_operator.client.sync_client import VLLMClient
from vllm_operator.desired.children import endpoint_url


@pytest.fixture
def in_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    namespace = tmp_path / "namespace"
    namespace.write_text("own\n")
    monkeypatch.setattr(discovery, "NAMESPACE_FILE", namespace)
    return namespace


@pytest.mark.parametrize(("text", "namespace", "name"), [("a/b", "a", "b"), ("b", "", "b"), ("n-1/x-2", "n-1", "x-2")])
def test_name_is_read(text: str, namespace: str, name: str) -> None:
    assert ServerName.parse(text) == ServerName(namespace, name)


@pytest.mark.parametrize("text", ["", "/", "a/", "/b", "a/b/c", "A/b", "a/--x", "-n", "a b", "a/b;c", "x" * 64, "a\n"])
def test_text_that_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^server: .* write namespace/name"):
        ServerName.parse(text)


@pytest.mark.parametrize(("port", "end"), [(80, ""), (8000, ":8000")])
def test_url_in_the_cluster_is_that_of_the_status(in_cluster: Path, port: int, end: str) -> None:
    url = service_url(ServerName("models", "mistral"), port)

    assert url == f"http://mistral.models.svc{end}" == endpoint_url(server("mistral", "models", service={"port": port}))


def test_client_in_the_cluster_uses_the_service(in_cluster: Path) -> None:
    with VLLMClient.for_server("models/mistral", ClientConfig(model="m", max_tokens=3)) as client:
        assert client.config.base_urls == ("http://mistral.models.svc",)
        assert (client.config.model, client.config.max_tokens) == ("m", 3)

    assert connect("mistral", None, 8000, None)[0].base_urls == ("http://mistral.own.svc:8000",)


def test_namespace_of_the_pod_that_is_not_known_is_asked_for(in_cluster: Path) -> None:
    in_cluster.unlink()

    with pytest.raises(ValueError, match="namespace of this pod is not known: write namespace/name"):
        connect("mistral", None, 80, None)


@pytest.mark.parametrize("port", [0, -1, 65536, True])
def test_port_that_is_none_is_refused(in_cluster: Path, port: int) -> None:
    with pytest.raises(ValueError, match=r"^port: "):
        connect("a/b", None, port, None)
