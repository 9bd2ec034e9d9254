"""Test the URLs of objects."""

from __future__ import annotations

from vllm_operator.kube.kinds import SECRET, SERVER


def test_path_of_an_object_and_of_its_subresource() -> None:
    assert SERVER.path("llm", "mistral", "status").endswith("/namespaces/llm/vllmservers/mistral/status")


def test_name_does_not_lead_to_another_object() -> None:
    assert SECRET.path("llm", "../../other/secrets/x") == "/api/v1/namespaces/llm/secrets/..%2F..%2Fother%2Fsecrets%2Fx"
    assert SECRET.path("llm", "a?watch=1#x") == "/api/v1/namespaces/llm/secrets/a%3Fwatch%3D1%23x"
