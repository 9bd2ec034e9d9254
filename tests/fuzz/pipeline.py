"""What becomes of one generated manifest, without a cluster."""

from __future__ import annotations

import json
import random
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.random_specs.hostile import manifest_spec
from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.api.server import parse_server
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.errors import InvalidSpecError
from vllm_operator.kube.kinds import MONITORING_KINDS

Json = dict[str, Any]


def body(seed: int, number: int, namespace: str = "fuzz") -> Json:
    """The manifest of this number, with the identity that the API server would give it."""
    spec, _ = manifest_spec(random.Random(f"{seed}-{number}"))
    # What no JSON says cannot come from an API server: a lone surrogate arrives as U+FFFD.
    spec = json.loads(json.dumps(spec).replace("\\udcff", "\\ufffd"))
    metadata = {"name": f"m{number}", "namespace": namespace, "uid": f"uid-{number}", "generation": 1}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def parses(manifest: Json) -> str:
    """Why the operator cannot parse a manifest; empty when it can."""
    try:
        parse_server(manifest)
    except InvalidSpecError as error:
        return error.message
    return ""


def desired(manifest: Json) -> DesiredState:
    """What the operator makes of it in a cluster with the optional kinds."""
    return desired_state(manifest, MONITORING_KINDS)


@dataclass
class Share:
    """What came of a part of the manifests.

    Attributes:
        outcomes: how many were accepted, and how many refused for which reason.
        documents: rendered children.
        slowest: seconds of the slowest manifest, and its number.
        crashes: uncaught exceptions, each with the number of its manifest.
        crashed: how many there were.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    slowest: tuple[float, int] = (0.0, -1)
    crashes: list[str] = field(default_factory=list)
    crashed: int = 0


def run(seed: int, numbers: range) -> Share:
    """Take the manifests of these numbers through parse, plan and render."""
    share = Share()
    for number in numbers:
        started = time.perf_counter()
        try:
            found = desired(body(seed, number))
        except Exception:
            share.crashed += 1
            if len(share.crashes) < 5:
                share.crashes.append(f"manifest {number}:\n{traceback.format_exc(limit=-4)}")
            continue
        share.outcomes[found.problems[0].reason if found.problems else "accepted"] += 1
        assert found.problems or found.manifests, f"manifest {number} is neither refused nor carried out"
        share.documents += len([manifest.body for manifest in found.manifests])
        share.slowest = max(share.slowest, (time.perf_counter() - started, number))
    return share
