"""How far a start has come, told from what a real vLLM logs on the way."""

from __future__ import annotations

import pytest

from tests.helpers.paths import DATA
from tests.helpers.pods import container, loading_pod, pod, ready_pod, with_container
from tests.helpers.status_inputs import NOW, REFUSED, inputs, status_of
from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.diagnosis.startup_stage import find_stage

LOG = (DATA / "starts" / "download.log").read_text()
NAME = "mistral-5f9c6d7b8-x2k7b"
UID = f"uid-of-{NAME}"


def up_to(words: str) -> str:
    """The recorded log until the line with these words."""
    head, found, _ = LOG.partition(words)
    assert found
    return head + found


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ("Resolved architecture", ""),
        ("Initializing model took", "FetchingWeights"),
        ("Time spent downloading weights", "LoadingWeights"),
        ("Loading safetensors checkpoint shards: 100% Completed", "LoadingWeights"),
        ("Loading weights took", "Preparing"),
        ("Warming up model for the compilation", "Compiling"),
        ("Starting vLLM server", "OpeningPort"),
    ],
)
def test_last_mark_in_the_log_tells_the_stage(last: str, reason: str):
    assert find_stage(up_to(last), None).reason == reason


def test_who_looks_for_weights_twice_downloads_them():
    silent = up_to("Initializing model took")
    first = find_stage(silent, None)
    second = find_stage(silent, first)
    assert second.reason == find_stage(silent, second).reason == "Downloading"
    assert find_stage(up_to("Time spent downloading weights"), second).reason == "LoadingWeights"


def test_older_releases_name_the_format_before_they_download():
    line = "INFO 07-01 10:00:00 [weight_utils.py:292] Using model weights format ['*.safetensors']"
    assert find_stage(line, None).reason == "FetchingWeights"


def test_cuda_graphs_come_after_compiling():
    log = (
        "INFO [backends.py:1167] Dynamo bytecode transform time: 4.27 s\n"
        "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  10%|#         | 7/67"
    )
    assert find_stage(log, None).reason == "CapturingGraphs"


def told(finding: Diagnosis | None, *, downloads: bool = True, **changes: object) -> tuple[str, str, str]:
    """Phase and reason of a replica that loads, and the phase of its server."""
    findings = {UID: finding} if finding else {}
    status = status_of(
        inputs(loading_pod(), health={NAME: REFUSED}, lookup_results=findings, downloads=downloads, **changes)
    )
    (entry,) = status["replicaStatuses"]
    return entry["phase"], entry["reason"], status["phase"]


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (None, ("Loading", "Loading")),
        (NO_DIAGNOSIS, ("Loading", "Loading")),
        (Diagnosis("FetchingWeights", "looks"), ("Loading", "Loading")),
        (Diagnosis("Downloading", "downloads"), ("Downloading", "Downloading")),
        (Diagnosis("LoadingWeights", "loads"), ("Loading", "LoadingWeights")),
    ],
)
def test_replica_tells_its_stage(finding: Diagnosis | None, expected: tuple[str, str]):
    assert told(finding)[:2] == expected


def test_server_that_downloads_says_so():
    assert told(Diagnosis("Downloading", "downloads the model's weights"))[2] == "Downloading"


def test_model_that_is_in_the_cluster_is_never_downloaded():
    assert told(Diagnosis("Downloading", "downloads"), downloads=False)[:2] == ("Loading", "Loading")


def test_restarted_operator_keeps_the_stage_until_it_has_read_the_log():
    seen = inputs(loading_pod(), health={NAME: REFUSED}, lookup_results={UID: Diagnosis("Downloading", "downloads")})
    known = status_of(seen)
    restarted = inputs(loading_pod(), health={NAME: REFUSED}, previous=known, now=NOW.replace(hour=20))
    assert status_of(restarted) == known


def test_replica_that_serves_has_no_stage():
    status = status_of(inputs(ready_pod(), lookup_results={UID: Diagnosis("Downloading", "downloads")}))
    assert status["replicaStatuses"][0]["phase"] == "Serving"


def test_engine_that_answers_is_not_downloading():
    body = with_container(pod(), container({"running": {"startedAt": "2026-03-02T08:01:00Z"}}))
    status = status_of(inputs(body, lookup_results={UID: Diagnosis("Downloading", "downloads")}))
    assert status["replicaStatuses"][0]["reason"] == "NotReady"
