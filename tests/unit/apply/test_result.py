"""Test the results of errors, and the messages about conflicts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_changes import AdmissionChanges
from vllm_operator.apply.result import (
    ApplyResult,
    ChildResult,
    Failed,
    KindGone,
    Refused,
    RepairLimitError,
    conflict_note,
    result_of_error,
)
from vllm_operator.desired.state import desired_state
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.kube.managed_fields import AUTOSCALER_MANAGER, SCALED_BY

MANIFESTS = {manifest.kind: manifest for manifest in desired_state(body(), MONITORING_KINDS).manifests}
NOT_FOUND = ApiError(404, "NotFound", "no")
REFUSAL = ApiError(422, "Invalid", "no")
NO_ANSWER = NoAnswerError("Unreachable", "no answer")
PROBLEM = Problem("ChildRefused", "spec: no")


@pytest.mark.parametrize(
    ("kind", "error", "result"),
    [
        ("Service", REFUSAL, Refused(REFUSAL)),
        ("PodMonitor", REFUSAL, Refused(REFUSAL)),
        ("Service", NOT_FOUND, Failed(NOT_FOUND)),
        ("PodMonitor", NOT_FOUND, KindGone()),
        ("Service", NO_ANSWER, Failed(NO_ANSWER)),
    ],
)
def test_result_of_an_error(kind: str, error: ApiError, result: ChildResult) -> None:
    assert result_of_error(MANIFESTS[kind], error) == result


@pytest.mark.parametrize(
    ("result", "recheck"),
    [
        (ApplyResult(), False),
        (ApplyResult(written=("Service",), admission_changes=AdmissionChanges(notes=("a",))), False),
        (ApplyResult(problems=(PROBLEM,)), True),
        (ApplyResult(monitoring_problems=(PROBLEM,)), True),
        (ApplyResult(kinds_gone=("PodMonitor",)), True),
        (ApplyResult(conflicts=("a",)), True),
        (ApplyResult(admission_changes=AdmissionChanges(unlabelled=True)), True),
    ],
)
def test_results_that_need_a_recheck(result: ApplyResult, recheck: bool) -> None:
    assert result.needs_recheck is recheck


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"managedFields": [{"manager": "helm"}, {"manager": "vllm-operator"}]}, "helm keeps changing Service mistral"),
        ({SCALED_BY: ["kubectl"]}, "kubectl keeps changing Service mistral"),
        ({}, "someone keeps changing Service mistral"),
        (None, "someone keeps deleting Service mistral"),
    ],
)
def test_conflict_names_the_other_writer(metadata: dict[str, Any] | None, message: str) -> None:
    live = None if metadata is None else {"metadata": metadata}

    assert conflict_note(MANIFESTS["Service"], live).startswith(f"{message}, ")
    assert RepairLimitError(MANIFESTS["Service"], live, 7.4).message == f"{message}: repaired again in 7 s"


def test_conflict_with_an_autoscaler_has_its_own_remedy() -> None:
    note = conflict_note(MANIFESTS["Deployment"], {"metadata": {SCALED_BY: [AUTOSCALER_MANAGER]}})

    assert note.endswith("delete that HorizontalPodAutoscaler, or set spec.autoscaling")
