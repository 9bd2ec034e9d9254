"""The stage of a start, read from the log of a real vLLM."""

from __future__ import annotations

import pytest

from tests.helpers.paths import DATA
from vllm_operator.diagnosis.startup_stage import find_stage

LOG = (DATA / "starts" / "download.log").read_text()


def up_to(text: str) -> str:
    """Return the recorded log until the line with this text."""
    head, found, _ = LOG.partition(text)
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
def test_last_mark_in_the_log_decides_the_stage(last: str, reason: str):
    assert find_stage(up_to(last), None).reason == reason


def test_second_lookup_in_the_same_search_for_weights_is_a_download():
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
