from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object, write_kubeconfig
from vllm_operator.cli import servers
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.exits import NOT_FOUND, USAGE, CliError
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import SERVER


def named(*names: str, namespace: str = "llm") -> dict[str, Any]:
    return {"items": [{"metadata": {"name": name, "namespace": namespace}} for name in names]}


def message(folder: Path, name: str, here: list[str], elsewhere: list[str], *, may_list_all: bool = True) -> str:
    everywhere = (
        (200, named(*elsewhere, namespace="other")) if may_list_all else (403, status_object(403, "Forbidden", ""))
    )
    answers: dict[str, tuple[int, Any]] = {
        f"GET {SERVER.path('llm')}": (200, named(*here)),
        f"GET {SERVER.path()}": everywhere,
    }
    with fake_api_server(answers, folder) as (_, path), pytest.raises(CliError) as caught:
        servers.find_server(Cluster(ClusterOptions(kubeconfig=path)), name)
    assert caught.value.code == NOT_FOUND
    return caught.value.message


def test_server_is_found_by_name_and_by_kind_and_name(tmp_path: Path) -> None:
    body = {"metadata": {"name": "a"}}
    with fake_api_server({f"GET {SERVER.path('llm', 'a')}": (200, body)}, tmp_path) as (_, path):
        cluster = Cluster(ClusterOptions(kubeconfig=path))
        assert servers.find_server(cluster, "a") == body
        assert servers.find_server(cluster, "vllmserver/a") == body
        assert servers.find_server(cluster, "vllm/a") == body


def test_unknown_name_names_the_nearest_or_the_others_or_another_namespace(tmp_path: Path) -> None:
    assert "did you mean 'mistral'?" in message(tmp_path, "mistrl", ["mistral", "llama"], [])
    assert "it has llama, qwen" in message(tmp_path, "zzz", ["qwen", "llama"], [])
    assert "there is one in other: add -n other" in message(tmp_path, "zzz", [], ["zzz"])
    assert "it has no VLLMServers" in message(tmp_path, "zzz", [], [], may_list_all=False)


def test_unknown_name_without_the_right_to_list_is_still_unknown(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, Any]] = {f"GET {SERVER.path('llm')}": (403, status_object(403, "Forbidden", ""))}
    with fake_api_server(answers, tmp_path) as (_, path), pytest.raises(CliError) as caught:
        servers.find_server(Cluster(ClusterOptions(kubeconfig=path)), "a")
    assert (caught.value.code, caught.value.message) == (NOT_FOUND, "there is no VLLMServer 'a' in namespace llm")


@pytest.mark.parametrize("name", ["", "a b", "../x", "pod/a", "a/b/c", "x" * 300, "a\x1b[2J", "a?b"])
def test_impossible_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(CliError) as caught:
        servers.plain_name(name)
    assert caught.value.code == USAGE
    assert "\x1b" not in caught.value.message


def completions(kubeconfig: str, word: str) -> list[str]:
    @click.command()
    @servers.name_argument()
    @click.option("--kubeconfig")
    def command(name: str, kubeconfig: str) -> None:
        """Do nothing."""

    context = click.Context(command)
    context.params = {"kubeconfig": kubeconfig}
    return [item.value for item in servers.complete_name(context, command.params[0], word)]


def test_names_are_completed_from_the_cluster(tmp_path: Path) -> None:
    answers: dict[str, tuple[int, Any]] = {f"GET {SERVER.path('llm')}": (200, named("mistral", "mixtral", "llama"))}
    with fake_api_server(answers, tmp_path) as (_, path):
        assert completions(path, "mi") == ["mistral", "mixtral"]


def test_completion_without_a_cluster_is_empty(tmp_path: Path) -> None:
    assert completions(str(write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1")), "") == []


def test_fields_of_odd_objects_are_none_or_empty() -> None:
    assert servers.field({"a": [1]}, "a", "b") is None
    assert servers.items({"a": {"b": [1, {"c": 2}]}}, "a", "b") == [{"c": 2}]
    assert servers.items({"a": 3}, "a") == []
    assert servers.condition({}, "Ready") == {}
    assert servers.name_of({"metadata": {"name": "\x1b[2Ja"}}) == "a"


def test_status_of_another_generation_is_no_judgement() -> None:
    assert servers.is_judged({"metadata": {"generation": 2}, "status": {"observedGeneration": 2}})
    assert not servers.is_judged({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}})
    assert not servers.is_judged({"metadata": {"generation": 2}})
