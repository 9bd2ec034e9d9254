"""How far a start has come, told from the log: from outside vLLM is silent until its port opens.

The lines are those of vLLM 0.9 to 0.32; the last of them that stands in the log tells.
"""

from __future__ import annotations

import re

from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

FETCHING = "FetchingWeights"
DOWNLOADING = "Downloading"
_STAGES: tuple[tuple[str, str, str], ...] = (
    # Up to 0.19 vLLM names the format just before it downloads; later ones download in silence after this line.
    (FETCHING, r"Starting to load model|Using model weights format", "looks for the model's weights"),
    (
        "LoadingWeights",
        r"Time spent downloading weights|Filesystem type for checkpoints|checkpoint shards:"
        r"|Multi-thread loading shards",
        "loads the model's weights",
    ),
    ("Preparing", r"Loading weights took|Model loading took", "has loaded the weights and prepares the engine"),
    (
        "Compiling",
        r"Warming up model for the compilation|Dynamo bytecode transform|Compiling a graph|torch\.compile's cache",
        "compiles the model; a cache volume keeps the result",
    ),
    ("CapturingGraphs", r"Capturing CUDA graphs?", "captures CUDA graphs"),
    ("OpeningPort", r"Starting vLLM (?:API )?server|Graph capturing finished", "opens its port"),
)
_PATTERNS = tuple((why, re.compile(pattern), words) for why, pattern, words in _STAGES)
_DOWNLOADS = "downloads the model's weights"
STAGES = frozenset(why for why, _, _ in _STAGES) | {DOWNLOADING}
NO_DIAGNOSIS = Diagnosis("", "")


def find_stage(log: str, before: Diagnosis | None) -> Diagnosis:
    """The stage of a start; NO_STAGE when the log names none.

    Args:
        log: the end of the container's log.
        before: what the reading before this one told of the same start. Who stands where the weights are sought for
            two readings downloads them: what is in the cache is found in a moment.
    """
    furthest, found = -1, NO_DIAGNOSIS
    for why, pattern, words in _PATTERNS:
        ends = [match.end() for match in pattern.finditer(log)]
        if ends and ends[-1] > furthest:
            furthest, found = ends[-1], Diagnosis(why, words)
    if found.reason == FETCHING and before and before.reason in {FETCHING, DOWNLOADING}:
        return Diagnosis(DOWNLOADING, _DOWNLOADS)
    return found


def stage_from_status(entry: Object | None) -> Diagnosis | None:
    """The stage that an entry of `replicaStatuses` tells; None where it tells none."""
    why = get_str(entry, "reason")
    return Diagnosis(why, get_str(entry, "message")) if why in STAGES else None
