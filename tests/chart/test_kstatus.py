"""The library by which Flux and Helm 4 wait says about every status what our copy of its rules says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chart.programs import built
from tests.helpers.gitops import kstatus
from tests.helpers.random_status_inputs import situations
from tests.project.test_gitops_health import ROWS, server
from vllm_operator.api.crd import crd
from vllm_operator.api.names import API_VERSION, KIND

Object = dict[str, Any]

EXAMPLES = 200
"""Random statuses in one run of the program."""


def by_the_library(objects: Iterable[Object]) -> list[str]:
    """Return what kstatus says about objects."""
    named = [{"apiVersion": API_VERSION, "kind": KIND, **one} for one in objects]
    lines = "".join(json.dumps(one) + "\n" for one in named)
    done = subprocess.run([built("kstatus")], input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


def test_library_agrees_about_every_state() -> None:
    assert by_the_library(resource for _, resource, _, _ in ROWS) == [flux for _, _, flux, _ in ROWS]


def test_library_agrees_about_a_server_before_its_first_reconcile() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    created = {"metadata": {"generation": 1}, "spec": {}, "status": schema["properties"]["status"]["default"]}

    assert by_the_library([created]) == ["InProgress"]


def test_library_agrees_about_random_statuses() -> None:
    found: list[Object] = []

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(situations(), st.sampled_from([7, 8]))
    def collect(situation: Any, generation: int) -> None:
        found.append(server(situation, generation=generation))

    collect()
    answers = by_the_library(found)

    assert len(answers) == len(found) >= EXAMPLES // 2
    assert answers == [kstatus(one) for one in found]
    assert {"InProgress", "Failed"} <= set(answers)
