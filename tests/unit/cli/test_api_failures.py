from __future__ import annotations

import pytest

from tests.helpers.fake_api_server import status_object
from vllm_operator.cli.api_failures import Request, described, refused, unreachable
from vllm_operator.cli.exits import FAILED, NOT_FOUND, UNAVAILABLE

SERVERS = "/apis/vllm-operator.dev/v1alpha1/namespaces/llm/vllmservers"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", SERVERS, Request("list", "vllmservers.vllm-operator.dev", "llm", "")),
        ("GET", f"{SERVERS}/a", Request("get", "vllmservers.vllm-operator.dev", "llm", "a")),
        ("PATCH", f"{SERVERS}/a", Request("patch", "vllmservers.vllm-operator.dev", "llm", "a")),
        ("GET", "/api/v1/pods", Request("list", "pods", "", "")),
        ("GET", "/api/v1/namespaces/llm/pods/p/log", Request("get", "pods/log", "llm", "p")),
        ("GET", "/api/v1/namespaces/llm/pods/p:8000/proxy/metrics", Request("get", "pods/proxy", "llm", "p")),
        ("GET", "/api/v1/namespaces/llm", Request("get", "namespaces", "", "llm")),
        ("GET", "/version", Request("get", "/version", "", "")),
    ],
)
def test_call_is_described_as_rbac_names_it(method: str, path: str, expected: Request) -> None:
    assert described(method, path) == expected


def test_missing_right_names_verb_resource_and_namespace() -> None:
    error = refused("GET", SERVERS, 403, status_object(403, "Forbidden", "..."))
    assert error.code == UNAVAILABLE
    assert error.is_forbidden
    assert "no right to list vllmservers.vllm-operator.dev in namespace llm" in error.message
    assert "kubectl auth can-i list vllmservers.vllm-operator.dev -n llm" in error.message


def test_missing_object_and_missing_kind_are_told_apart() -> None:
    missing = refused("GET", f"{SERVERS}/a", 404, status_object(404, "NotFound", "..."))
    assert (missing.code, missing.is_missing_object) == (NOT_FOUND, True)
    kind = refused("GET", f"{SERVERS}/a", 404, None)
    assert (kind.code, kind.is_missing_kind) == (UNAVAILABLE, True)
    assert "has no CRD vllmservers.vllm-operator.dev: install the operator" in kind.message
    words = "the server could not find the requested resource"
    assert refused("GET", f"{SERVERS}/a", 404, status_object(404, "NotFound", words)).is_missing_kind


def test_refused_credentials_ask_for_a_login() -> None:
    assert "log in again" in refused("GET", SERVERS, 401, None).message


def test_refusal_shows_the_reason_of_the_api_server() -> None:
    error = refused("PATCH", f"{SERVERS}/a", 422, status_object(422, "Invalid", "spec.replicas: too \x1b[31mmany"))
    assert error.code == FAILED
    assert error.message.endswith("vllmservers.vllm-operator.dev: spec.replicas: too many")


def test_busy_api_server_is_unavailable() -> None:
    assert refused("GET", SERVERS, 503, None).code == UNAVAILABLE
    assert refused("GET", SERVERS, 429, None).code == UNAVAILABLE


@pytest.mark.parametrize("body", [None, [], "text", {"kind": "Other"}, {"kind": "Status", "message": 3}])
def test_answer_that_is_no_status_object_is_read(body: object) -> None:
    assert refused("GET", SERVERS, 418, body).status == 418


def test_other_exceptions_become_a_message() -> None:
    assert "is not reachable: nope" in unreachable("https://a:1", OSError("nope")).message
