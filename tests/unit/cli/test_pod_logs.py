from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object
from tests.helpers.paths import DATA
from tests.helpers.pods import crashed_pod, loading_pod, ready_pod, termination
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.exits import NOT_FOUND, CliError
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.cli.pod_logs import (
    choose_container,
    choose_pod,
    end_text,
    follow_log,
    log_query,
    read_log,
    safe_log,
)

TOKEN = "hf_" + "AbCdEfGh1234567890"


def named(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def test_worst_replica_of_the_status_is_chosen() -> None:
    pods = [ready_pod("a"), crashed_pod(termination(1), "b"), loading_pod("c")]
    statuses = {"c": {"phase": "Failed"}, "b": {"phase": "CrashLooping"}, "a": {"phase": "Serving"}}
    assert named(dict(choose_pod(pods, statuses, None))) == "c"
    assert named(dict(choose_pod(pods, {}, None))) == "b"
    assert named(dict(choose_pod(pods[:1], {}, None))) == "a"


def test_pod_can_be_named_and_the_nearest_is_offered() -> None:
    assert named(dict(choose_pod([ready_pod("aaa"), ready_pod("bbb")], {}, "pod/bbb"))) == "bbb"
    with pytest.raises(CliError, match="did you mean 'aaa'") as caught:
        choose_pod([ready_pod("aaa")], {}, "aab")
    assert caught.value.code == NOT_FOUND
    with pytest.raises(CliError, match="no pods yet"):
        choose_pod([], {}, None)


def test_former_run_of_a_crashed_container_is_chosen() -> None:
    chosen = choose_container(crashed_pod(termination(1)), None, previous=False)
    assert (chosen.container, chosen.previous, chosen.current) == ("vllm", True, False)
    assert chosen.ended == "exit code 1 (Error)"


def test_present_run_of_a_serving_container_is_chosen() -> None:
    chosen = choose_container(ready_pod(), None, previous=False)
    assert (chosen.container, chosen.previous, chosen.current, chosen.ended) == ("vllm", False, True, "")


def test_both_runs_of_a_container_that_starts_again_are_chosen() -> None:
    pod = loading_pod()
    pod["status"]["containerStatuses"][0] |= {"restartCount": 1, "lastState": {"terminated": termination(1)}}
    chosen = choose_container(pod, None, previous=False)
    assert (chosen.previous, chosen.current) == (True, True)


def test_running_init_container_is_chosen() -> None:
    pod = loading_pod()
    pod["spec"]["initContainers"] = [{"name": "fetch"}]
    pod["status"]["initContainerStatuses"] = [{"name": "fetch", "state": {"running": {}}, "started": False}]
    assert choose_container(pod, None, previous=False).container == "fetch"


def test_container_can_be_named() -> None:
    pod = ready_pod()
    pod["spec"]["containers"].append({"name": "proxy"})
    assert choose_container(pod, "proxy", previous=False).container == "proxy"
    with pytest.raises(CliError, match="no container 'proxi': did you mean 'proxy'"):
        choose_container(pod, "proxi", previous=False)


def test_query_bounds_the_log() -> None:
    query = log_query("vllm", previous=True, tail=10, since=0.5)
    assert query == {
        "container": "vllm",
        "limitBytes": str(16 * 1024 * 1024),
        "previous": "true",
        "tailLines": "10",
        "sinceSeconds": "1",
    }


def test_log_is_cleaned_and_masked(tmp_path: Path) -> None:
    pod = {**ready_pod("a"), "metadata": {"name": "a", "namespace": "llm"}}
    recorded = (DATA / "logs" / "context-too-long.log").read_text()
    raw = f"\x1b[31m{recorded}\x1b[0m\nHF_TOKEN={TOKEN}\n".encode() + b"\xff\n"
    with fake_api_server({"GET /api/v1/namespaces/llm/pods/a/log": (200, raw)}, tmp_path) as (_, path):
        cluster = Cluster(ClusterOptions(kubeconfig=path))
        text = read_log(cluster, pod, log_query("vllm"))
        followed = list(follow_log(cluster, pod, log_query("vllm")))
    assert "max_model_len" in text
    assert "\x1b" not in text
    assert TOKEN not in text
    assert "\n".join(followed) == text.rstrip("\n")


def test_container_without_a_log_says_why(tmp_path: Path) -> None:
    pod = {**ready_pod("a"), "metadata": {"name": "a", "namespace": "llm"}}
    waiting = 'container "vllm" in pod "a" is waiting to start: PodInitializing'
    answers = {"GET /api/v1/namespaces/llm/pods/a/log": (400, status_object(400, "BadRequest", waiting))}
    with fake_api_server(answers, tmp_path) as (_, path):
        assert read_log(Cluster(ClusterOptions(kubeconfig=path)), pod, {}) == f"[no log: {waiting}]\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b"unable to retrieve container logs for containerd://4ea7",
            "[no log: the node has removed that of this run]\n",
        ),
        (b"cut", "cut\n"),
        (b"", ""),
    ],
)
def test_removed_log_is_named_and_each_log_ends_with_a_line_end(body: bytes, text: str, tmp_path: Path) -> None:
    pod = {"metadata": {"name": "a", "namespace": "llm"}}
    with fake_api_server({"GET /api/v1/namespaces/llm/pods/a/log": (200, body)}, tmp_path) as (_, path):
        assert read_log(Cluster(ClusterOptions(kubeconfig=path)), pod, {}) == text


def test_end_of_a_container_is_told_in_words() -> None:
    assert end_text({"exitCode": 137, "reason": "OOMKilled"}) == "exit code 137 (OOMKilled)"
    assert end_text(None) == ""


def test_private_key_over_lines_is_masked() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0", "-----END PRIVATE KEY-----"]
    assert "MIIEvQ" not in safe_log("\n".join(lines))
