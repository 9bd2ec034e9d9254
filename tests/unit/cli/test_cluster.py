from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server, status_object, write_kubeconfig
from vllm_operator.cli import cluster as module
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.exits import UNAVAILABLE
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import POD, SERVER

PODS = "GET /api/v1/namespaces/llm/pods"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[FakeApiServer, Cluster]]:
    with fake_api_server({}, tmp_path) as (server, path):
        yield server, Cluster(ClusterOptions(kubeconfig=path))


def to(url: str, folder: Path, timeout: float = 5) -> Cluster:
    return Cluster(ClusterOptions(kubeconfig=str(write_kubeconfig(folder / "k", url)), request_timeout=timeout))


def test_token_is_sent_and_namespace_is_that_of_the_context(api: tuple[FakeApiServer, Cluster]) -> None:
    server, cluster = api
    server.answers["GET /api/v1/namespaces/llm/pods/p"] = (200, {"kind": "Pod"})
    assert cluster.get(POD, "p") == {"kind": "Pod"}
    assert cluster.namespace == cluster.scope == "llm"


def test_option_names_another_namespace_or_all(tmp_path: Path) -> None:
    path = str(write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1"))
    assert Cluster(ClusterOptions(namespace="x", kubeconfig=path)).namespace == "x"
    assert Cluster(ClusterOptions(all_namespaces=True, kubeconfig=path)).scope is None


def test_list_reads_all_pages_up_to_its_bound(
    api: tuple[FakeApiServer, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cluster = api
    pages = [
        {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {}, "items": [{"metadata": {"name": "b"}}, "no object"]},
    ]
    monkeypatch.setattr(server, "answer", lambda *_: (200, __import__("json").dumps(pages.pop(0)).encode()))
    found = cluster.list(POD, "llm")
    assert [body["metadata"]["name"] for body in found] == ["a", "b"]
    assert found[0]["kind"] == "Pod"


def test_find_returns_none_for_a_missing_object_and_kind(api: tuple[FakeApiServer, Cluster]) -> None:
    server, cluster = api
    server.answers[PODS] = (200, {"items": []})
    assert cluster.find(POD, "p") is None
    assert cluster.find(SERVER, "p") is None


def test_no_crd_is_named(api: tuple[FakeApiServer, Cluster]) -> None:
    with pytest.raises(CallError, match="no CRD vllmservers"):
        api[1].list(SERVER, "llm")


def test_patch_sends_a_merge_patch_and_the_field_manager(api: tuple[FakeApiServer, Cluster]) -> None:
    server, cluster = api
    path = SERVER.path("llm", "a")
    server.answers[f"PATCH {path}"] = (200, {"spec": {}})
    cluster.patch(SERVER, "a", {"spec": {"paused": True}}, dry_run=True)
    assert server.asked[-1] == (
        "PATCH", path, {"fieldManager": "kubectl-vllm", "dryRun": "All"}, {"spec": {"paused": True}},
    )  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"\xff" * 10, b"[" * 5000])
def test_answer_that_is_no_json_is_refused(api: tuple[FakeApiServer, Cluster], body: bytes) -> None:
    server, cluster = api
    server.answers[PODS] = (200, body)
    with pytest.raises(CallError, match="is it an API server"):
        cluster.list(POD, "llm")


def test_answer_that_is_too_large_is_refused(
    api: tuple[FakeApiServer, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cluster = api
    monkeypatch.setattr(module, "LARGEST_ANSWER", 100)
    server.answers[PODS] = (200, b" " * 200)
    with pytest.raises(CallError, match="more than 100 bytes"):
        cluster.list(POD, "llm")


def test_log_is_read_up_to_its_bound(api: tuple[FakeApiServer, Cluster]) -> None:
    server, cluster = api
    path = POD.path("llm", "p", "log")
    server.answers[f"GET {path}"] = (200, b"0123456789")
    assert cluster.read(path, limit=4) == b"0123"
    with cluster.stream(path) as chunks:
        assert b"".join(chunks) == b"0123456789"


def test_refused_log_is_an_error(api: tuple[FakeApiServer, Cluster]) -> None:
    server, cluster = api
    path = POD.path("llm", "p", "log")
    server.answers[f"GET {path}"] = (400, status_object(400, "BadRequest", "container is waiting to start"))
    with pytest.raises(CallError) as caught:
        cluster.read(path)
    assert caught.value.detail == "container is waiting to start"
    with pytest.raises(CallError), cluster.stream(path):
        pass


def test_nobody_at_the_address_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"is not reachable: .*refused") as caught:
        to("http://127.0.0.1:1", tmp_path).list(POD, "llm")
    assert caught.value.code == UNAVAILABLE


def test_unknown_host_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="is not reachable"):
        to("http://no-such-host.invalid:1", tmp_path).list(POD, "llm")


def test_silent_api_server_ends_after_the_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(CallError, match="no answer from the API server"):
            to(url, tmp_path, 0.2).list(POD, "llm")


def test_plain_http_behind_https_is_a_tls_error(api: tuple[FakeApiServer, Cluster], tmp_path: Path) -> None:
    with pytest.raises(CallError, match="certificate or TLS"):
        to(api[0].url.replace("http://", "https://"), tmp_path).list(POD, "llm")


def test_redirect_is_not_followed(tmp_path: Path) -> None:
    asked: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(CallError) as caught:
            to(f"http://127.0.0.1:{server.server_address[1]}", tmp_path).list(POD, "llm")
    assert caught.value.status == 302
    assert len(asked) == 1
