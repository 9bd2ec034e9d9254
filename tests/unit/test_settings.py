"""Test the namespace of the Lease for leader election."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_operator import settings
from vllm_operator.settings import choose_lease_namespace, is_ipv6_cluster, pod_namespace


@pytest.fixture
def in_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a pod of the namespace `ops`."""
    path = tmp_path / "namespace"
    path.write_text("ops\n")
    monkeypatch.setattr(settings, "NAMESPACE_FILE", path)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run outside of a cluster."""
    monkeypatch.setattr(settings, "NAMESPACE_FILE", tmp_path / "namespace")


@pytest.mark.usefixtures("in_pod")
def test_operator_in_a_pod_elects_a_leader_in_its_own_namespace() -> None:
    assert pod_namespace() == "ops"
    assert choose_lease_namespace(None, None, ["llm"]) == "ops"
    assert choose_lease_namespace(True, "elsewhere", ["llm"]) == "elsewhere"


@pytest.mark.usefixtures("in_pod")
def test_user_can_switch_the_election_off() -> None:
    assert choose_lease_namespace(False, "elsewhere", ["llm"]) is None


@pytest.mark.usefixtures("outside")
def test_operator_outside_of_a_cluster_elects_a_leader_on_request() -> None:
    assert pod_namespace() is None
    assert choose_lease_namespace(None, None, ["llm"]) is None
    assert choose_lease_namespace(True, None, ["llm", "other"]) == "llm"
    assert choose_lease_namespace(True, None, []) == "default"


@pytest.mark.parametrize(
    ("host", "expected"), [("fd00::1", True), ("10.96.0.1", False), ("", False), ("kubernetes.default", False)]
)
def test_address_of_the_api_server_shows_the_family_of_the_pods(
    host: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    is_ipv6_cluster.cache_clear()

    assert is_ipv6_cluster() == expected
    is_ipv6_cluster.cache_clear()
