"""The labels that lift the rules for a namespace."""

from __future__ import annotations

import pytest

from vllm_operator.controller.tenant_rules import namespace_is_free, namespace_releases_secrets


@pytest.mark.parametrize(("value", "free"), [("free", True), ("restricted", False), ("Free", False), (None, False)])
def test_only_the_exact_label_frees_a_namespace(value: str | None, free: bool) -> None:
    labels = {} if value is None else {"vllm-operator.dev/pod-template": value}

    assert namespace_is_free(labels) is free
    assert not namespace_releases_secrets(labels)


@pytest.mark.parametrize(("value", "released"), [("all", True), ("true", False), (None, False)])
def test_only_the_exact_label_releases_the_secrets(value: str | None, released: bool) -> None:
    labels = {} if value is None else {"vllm-operator.dev/secrets": value}

    assert namespace_releases_secrets(labels) is released
    assert not namespace_is_free(labels)
