"""Read from the log how far a start has come: vLLM answers no request until its port opens.

The lines are those of vLLM 0.9 to 0.32. The last of them in the log decides.
"""

from __future__ import annotations

from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.diagnosis.log_text import LOG_LENGTH
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

FETCHING = "FetchingWeights"
DOWNLOADING = "Downloading"
_STAGES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # Up to 0.19 vLLM names the format just before it downloads; later ones download in silence after this line.
    (FETCHING, ("Starting to load model", "Using model weights format"), "looks for the model's weights"),
    (
        "LoadingWeights",
        (
            "Time spent downloading weights",
            "Filesystem type for checkpoints",
            "checkpoint shards:",
            "Multi-thread loading shards",
        ),
        "loads the model's weights",
    ),
    ("Preparing", ("Loading weights took", "Model loading took"), "has loaded the weights and prepares the engine"),
    (
        "Compiling",
        (
            "Warming up model for the compilation",
            "Dynamo bytecode transform",
            "Compiling a graph",
            "torch.compile's cache",
        ),
        "compiles the model; a cache volume keeps the result",
    ),
    ("CapturingGraphs", ("Capturing CUDA graph",), "captures CUDA graphs"),
    ("OpeningPort", ("Starting vLLM server", "Starting vLLM API server", "Graph capturing finished"), "opens its port"),
)
"""Reason, parts of lines that vLLM logs in this stage, and message."""

_DOWNLOADS = "downloads the model's weights"
STAGES = frozenset(reason for reason, _, _ in _STAGES) | {DOWNLOADING}


def find_stage(log: str, previous: Diagnosis | None) -> Diagnosis:
    """Return the stage of a start; `NO_DIAGNOSIS` when the log names none.

    Args:
        log: the end of the container's log.
        previous: the stage that the previous lookup of the same start found. A start that looks for the weights in two
            lookups downloads them: weights in the cache are found within seconds.
    """
    end = log[-LOG_LENGTH:]
    places = ((max(map(end.rfind, parts)), reason, message) for reason, parts, message in _STAGES)
    place, reason, message = max(places)
    found = Diagnosis(reason, message) if place >= 0 else NO_DIAGNOSIS
    if found.reason == FETCHING and previous and previous.reason in {FETCHING, DOWNLOADING}:
        return Diagnosis(DOWNLOADING, _DOWNLOADS)
    return found


def stage_from_status(entry: Object | None) -> Diagnosis | None:
    """Return the stage that an entry of `replicaStatuses` holds; None without one."""
    reason = get_str(entry, "reason")
    return Diagnosis(reason, get_str(entry, "message")) if reason in STAGES else None
