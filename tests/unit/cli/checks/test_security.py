from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.check_subjects import subject
from vllm_operator.cli.checks import security

KEY = {"security": {"apiKeySecretRef": {"name": "keys"}}}
PUBLIC = {"service": {"type": "LoadBalancer"}}


@pytest.mark.parametrize(
    ("spec", "routes", "level"),
    [
        (KEY, None, "pass"),
        ({}, None, "warn"),
        ({}, (), "warn"),
        (PUBLIC, None, "fail"),
        ({**PUBLIC, **KEY}, None, "pass"),
        ({}, ("Ingress a (TLS)",), "fail"),
    ],
)
def test_api_key(spec: dict[str, Any], routes: tuple[str, ...] | None, level: str) -> None:
    assert security.api_key(subject(spec, routes=routes)).level == level


@pytest.mark.parametrize(
    ("spec", "routes", "level"),
    [
        ({}, None, "n/a"),
        ({}, (), "n/a"),
        (PUBLIC, None, "fail"),
        ({"service": {"type": "LoadBalancer", "annotations": {"a/b": "c"}}}, None, "unknown"),
        ({}, ("Ingress a (TLS)",), "pass"),
        ({}, ("Ingress a (TLS)", "Ingress b"), "fail"),
    ],
)
def test_tls(spec: dict[str, Any], routes: tuple[str, ...] | None, level: str) -> None:
    assert security.tls(subject(spec, routes=routes)).level == level


def test_rate_limits_are_not_seen() -> None:
    assert security.rate_limits(subject()).level == "unknown"


def test_audit() -> None:
    assert security.audit(subject()).level == "unknown"
    assert security.audit(subject({"engine": {"extraArgs": ["--enable-log-requests"]}})).level == "pass"
