"""Test which errors of the API server are refusals, and which kinds and namespaces are gone."""

from __future__ import annotations

import pytest

from vllm_operator.errors import ApiError, InvalidSpecError, NoAnswerError, NotLeaderError

TERMINATING_CRD = "create not allowed while custom resource definition is terminating"


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (ApiError(422, "Invalid", "spec.ports[0]: no"), True),
        (ApiError(403, "Forbidden", "denied"), True),
        (ApiError(405, "MethodNotAllowed", "no"), True),
        (ApiError(403, "Forbidden", TERMINATING_CRD), False),
        (ApiError(405, "MethodNotAllowed", TERMINATING_CRD), False),
        (ApiError(404, "NotFound", "no"), False),
        (ApiError(409, "Conflict", "no"), False),
        (ApiError(500, "InternalError", "etcdserver: request is too large"), True),
        (ApiError(500, "InternalError", "no"), False),
        (ApiError(503, "ServiceUnavailable", "request is too large"), False),
        (NoAnswerError("Unreachable", "no answer"), False),
        (NotLeaderError(), False),
    ],
    ids=str,
)
def test_refusal_is_an_error_that_a_retry_cannot_change(error: ApiError, refusal: bool) -> None:
    assert error.is_refusal is refusal


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (ApiError(404, "NotFound", "no"), True),
        (ApiError(403, "Forbidden", TERMINATING_CRD), True),
        (ApiError(403, "Forbidden", "denied"), False),
        (ApiError(405, "MethodNotAllowed", TERMINATING_CRD), True),
        (ApiError(405, "MethodNotAllowed", "no"), False),
        (NoAnswerError("Unreachable", "no answer"), False),
    ],
    ids=str,
)
def test_kind_that_is_gone(error: ApiError, gone: bool) -> None:
    assert error.is_kind_gone is gone


def test_namespace_is_terminating_by_the_cause_alone() -> None:
    assert ApiError(403, "Forbidden", "no", causes=["NamespaceTerminating"]).is_namespace_terminating
    assert not ApiError(403, "Forbidden", "NamespaceTerminating").is_namespace_terminating


def test_message_names_the_status_if_there_is_one() -> None:
    assert str(ApiError(422, "Invalid", "no")) == "422 Invalid: no"
    assert str(NoAnswerError("Unreachable", "no answer")) == "no answer"
    assert NoAnswerError("Unreachable", "no answer").status is None


def test_message_of_an_invalid_spec_begins_with_the_field() -> None:
    assert InvalidSpecError("spec.cache.size", "too small").message == "spec.cache.size: too small"
