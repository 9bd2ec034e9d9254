"""Discover optional kinds: one answer that lacks a kind is not enough."""

from __future__ import annotations

from typing import Any

from vllm_operator.informers.discovery import CHECK_SECONDS, RECHECK_SECONDS, OptionalKinds
from vllm_operator.kube.kinds import MONITORING_KINDS

MONITORS = MONITORING_KINDS
NAMES = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}


class FakeDiscovery:
    """An API server that serves `kinds`; None stands for 404. The CRDs of the `ending` kinds are being deleted."""

    def __init__(self) -> None:
        self.kinds: frozenset[str] | None = MONITORS
        self.ending: frozenset[str] = frozenset()

    async def get_path(self, path: str) -> dict[str, Any] | None:
        if path == "/apis/keda.sh/v1alpha1":
            return None
        assert path == "/apis/monitoring.coreos.com/v1"
        return None if self.kinds is None else {"resources": [self._resource(kind) for kind in sorted(self.kinds)]}

    def _resource(self, kind: str) -> dict[str, Any]:
        verbs = ["delete", "deletecollection", "get", "list", "watch"]
        return {"name": NAMES[kind], "verbs": verbs if kind in self.ending else [*verbs, "patch", "create", "update"]}


def scene() -> tuple[OptionalKinds, FakeDiscovery]:
    discovery = FakeDiscovery()
    return OptionalKinds(discovery), discovery  # type: ignore[arg-type]


async def test_new_kind_is_installed_at_once() -> None:
    optional_kinds, discovery = scene()
    discovery.kinds = None
    assert not await optional_kinds.refresh()
    discovery.kinds = MONITORS

    assert await optional_kinds.refresh()
    assert optional_kinds.installed == MONITORS
    assert not await optional_kinds.refresh()


async def test_group_that_is_missing_once_changes_nothing() -> None:
    optional_kinds, discovery = scene()
    await optional_kinds.refresh()
    for kinds in (None, MONITORS, frozenset[str](), MONITORS, frozenset({"PodMonitor"}), MONITORS):
        discovery.kinds = kinds
        assert not await optional_kinds.refresh()
        assert optional_kinds.installed == MONITORS


async def test_kind_that_is_missing_twice_is_gone() -> None:
    optional_kinds, discovery = scene()
    await optional_kinds.refresh()
    discovery.kinds = frozenset({"PodMonitor"})

    assert not await optional_kinds.refresh()
    assert optional_kinds.delay == RECHECK_SECONDS
    assert await optional_kinds.refresh()
    assert optional_kinds.installed == {"PodMonitor"}
    assert optional_kinds.delay == CHECK_SECONDS
    assert not await optional_kinds.refresh()


async def test_refused_write_and_one_discovery_without_the_kind_count_as_twice() -> None:
    optional_kinds, discovery = scene()
    await optional_kinds.refresh()
    discovery.kinds = None
    for kind in MONITORS:
        optional_kinds.mark_missing(kind)
    assert optional_kinds.installed == frozenset()

    assert await optional_kinds.refresh()
    assert optional_kinds.installed == frozenset()


async def test_kind_that_is_installed_after_all_is_reported() -> None:
    optional_kinds, _ = scene()
    await optional_kinds.refresh()
    optional_kinds.mark_missing("PodMonitor")

    assert await optional_kinds.refresh()
    assert optional_kinds.installed == MONITORS
    assert not await optional_kinds.refresh()


async def test_kind_whose_crd_is_being_deleted_is_gone() -> None:
    optional_kinds, discovery = scene()
    await optional_kinds.refresh()
    discovery.ending = frozenset({"PodMonitor"})
    await optional_kinds.refresh()
    await optional_kinds.refresh()

    assert optional_kinds.installed == {"PrometheusRule"}
