"""Parse, plan and render one generated manifest, without a cluster."""

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
    """Return the manifest with this number, with the identity that the API server would add."""
    spec, _ = manifest_spec(random.Random(f"{seed}-{number}"))
    # JSON cannot hold a lone surrogate, so it arrives from the API server as U+FFFD.
    spec = json.loads(json.dumps(spec).replace("\\udcff", "\\ufffd"))
    metadata = {"name": f"m{number}", "namespace": namespace, "uid": f"uid-{number}", "generation": 1}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def parses(manifest: Json) -> str:
    """Return why the operator cannot parse a manifest; empty if it can."""
    try:
        parse_server(manifest)
    except InvalidSpecError as error:
        return error.message
    return ""


def desired(manifest: Json) -> DesiredState:
    """Return its desired state in a cluster with the optional kinds."""
    return desired_state(manifest, MONITORING_KINDS)


@dataclass
class Share:
    """The results of a part of the manifests.

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
    """Parse, plan and render the manifests with these numbers."""
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
