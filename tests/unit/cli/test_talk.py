from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object
from tests.helpers.plugin import Terminal
from tests.helpers.pods import loading_pod, ready_pod
from vllm_operator.cli import talk
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.exits import NOT_FOUND, UNAVAILABLE, CliError
from vllm_operator.cli.gathered import Gathered
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.client.responses import Choice, CompletionResponse, Usage

SERVER = {
    "metadata": {"name": "a"},
    "spec": {"security": {"apiKeySecretRef": {"name": "keys"}}},
    "status": {"message": "0/1 replicas serve; set maxModelLen"},
}
SECRET = "GET /api/v1/namespaces/llm/secrets/keys"


def key(folder: Path, answer: tuple[int, Any], server: dict[str, Any] = SERVER) -> str:
    with fake_api_server({SECRET: answer}, folder) as (_, path):
        return talk.api_key(Cluster(ClusterOptions(kubeconfig=path)), server)


def test_key_is_read_from_its_secret(tmp_path: Path) -> None:
    data = {"token": base64.b64encode(b"the-key\n").decode()}
    assert key(tmp_path, (200, {"metadata": {"name": "keys"}, "data": data})) == "the-key"
    assert key(tmp_path, (500, {}), {"spec": {}}) == ""


@pytest.mark.parametrize("data", [{}, {"token": "%"}, {"token": base64.b64encode(b"\xff").decode()}, None])
def test_secret_without_the_key_is_named(data: Any, tmp_path: Path) -> None:
    with pytest.raises(CliError, match="Secret keys has no text under the key token"):
        key(tmp_path, (200, {"metadata": {"name": "keys"}, "data": data}))


def test_environment_stands_in_for_a_secret_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = (403, status_object(403, "Forbidden", "no"))
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(CliError, match=r"no right to get secrets in namespace llm.*or set VLLM_API_KEY") as caught:
        key(tmp_path, forbidden)
    assert caught.value.code == UNAVAILABLE
    monkeypatch.setenv("VLLM_API_KEY", "mine")
    assert key(tmp_path, forbidden) == "mine"


def test_replica_that_serves_is_chosen() -> None:
    server = {**SERVER, "status": {"replicaStatuses": [{"pod": "b", "phase": "Serving"}]}}
    state = Gathered(server, {}, (), [loading_pod("c"), ready_pod("a"), ready_pod("b")])
    assert talk.serving_pod(state, None)["metadata"]["name"] == "b"
    assert talk.serving_pod(state, "c")["metadata"]["name"] == "c"
    with pytest.raises(CliError) as caught:
        talk.serving_pod(state, "zzz")
    assert caught.value.code == NOT_FOUND


def test_server_without_a_replica_names_the_cause() -> None:
    with pytest.raises(CliError, match="no replica of a serves: 0/1 replicas serve; set maxModelLen"):
        talk.serving_pod(Gathered(SERVER, {}, (), [loading_pod("c")]), None)
    with pytest.raises(CliError, match="no right to list pods") as caught:
        talk.serving_pod(Gathered(SERVER, {}, (), [], ("no right to list pods",)), None)
    assert caught.value.code == UNAVAILABLE


def test_prompt_comes_from_the_words_or_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    assert talk.prompt_text(("Say", "hello")) == "Say hello"
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe\n"))
    assert talk.prompt_text(()) == "from a pipe"
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert talk.prompt_text(()) == ""
    monkeypatch.setattr(talk, "LONGEST_PROMPT", 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO("long"))
    with pytest.raises(CliError, match="more than 3 characters"):
        talk.prompt_text(())


def test_usage_is_printed_with_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    usage = Usage(prompt_tokens=3, completion_tokens=11, total_tokens=14)
    choice = Choice(finish_reason="length")
    talk.print_usage(
        CompletionResponse(id="i", model="m", choices=(choice,), usage=usage, latency=3.0, time_to_first_token=1.0)
    )
    assert capsys.readouterr().err == (
        "[3 prompt and 11 generated tokens, 3.00 s, first token after 1.00 s, 5.0 tokens/s, cut by --max-tokens or the "
        "context]\n"
    )
    talk.print_usage(CompletionResponse(id="i", model="m", choices=(), latency=1.0))
    assert capsys.readouterr().err == "[tokens unknown, 1.00 s]\n"
