"""Which optional kinds there are: one answer without a kind is not believed."""

from __future__ import annotations

from typing import Any

from vllm_operator.informers.discovery import CHECK_SECONDS, RECHECK_SECONDS, OptionalKinds
from vllm_operator.kube.kinds import MONITORING_KINDS

MONITORS = MONITORING_KINDS
NAMES = {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}


class FakeDiscovery:
    """An API server that serves these kinds; None stands for 404. The CRDs of those that end are being deleted."""

    def __init__(self) -> None:
        self.kinds: frozenset[str] | None = MONITORS
        self.ending: frozenset[str] = frozenset()

    async def get_path(self, path: str) -> dict[str, Any] | None:
        assert path == "/apis/monitoring.coreos.com/v1"
        return None if self.kinds is None else {"resources": [self._resource(kind) for kind in sorted(self.kinds)]}

    def _resource(self, kind: str) -> dict[str, Any]:
        verbs = ["delete", "deletecollection", "get", "list", "watch"]
        return {"name": NAMES[kind], "verbs": verbs if kind in self.ending else [*verbs, "patch", "create", "update"]}


def scene() -> tuple[OptionalKinds, FakeDiscovery]:
    discovery = FakeDiscovery()
    return OptionalKinds(discovery), discovery  # type: ignore[arg-type]


async def test_what_comes_is_believed_at_once() -> None:
    capabilities, discovery = scene()
    discovery.kinds = None
    assert not await capabilities.refresh()
    discovery.kinds = MONITORS

    assert await capabilities.refresh()
    assert capabilities.installed == MONITORS
    assert not await capabilities.refresh()


async def test_group_that_is_missing_for_a_moment_changes_nothing() -> None:
    capabilities, discovery = scene()
    await capabilities.refresh()
    for kinds in (None, MONITORS, frozenset[str](), MONITORS, frozenset({"PodMonitor"}), MONITORS):
        discovery.kinds = kinds
        assert not await capabilities.refresh()
        assert capabilities.installed == MONITORS


async def test_kind_that_is_missing_twice_is_gone() -> None:
    capabilities, discovery = scene()
    await capabilities.refresh()
    discovery.kinds = frozenset({"PodMonitor"})

    assert not await capabilities.refresh()
    assert capabilities.delay == RECHECK_SECONDS
    assert await capabilities.refresh()
    assert capabilities.installed == {"PodMonitor"}
    assert capabilities.delay == CHECK_SECONDS
    assert not await capabilities.refresh()


async def test_refused_write_and_an_answer_without_the_kind_are_twice() -> None:
    capabilities, discovery = scene()
    await capabilities.refresh()
    discovery.kinds = None
    for kind in MONITORS:
        capabilities.mark_missing(kind)
    assert capabilities.installed == frozenset()

    assert await capabilities.refresh()
    assert capabilities.installed == frozenset()


async def test_kind_that_is_there_after_all_is_told() -> None:
    capabilities, _ = scene()
    await capabilities.refresh()
    capabilities.mark_missing("PodMonitor")

    assert await capabilities.refresh()
    assert capabilities.installed == MONITORS
    assert not await capabilities.refresh()


async def test_kind_whose_crd_is_being_deleted_is_gone() -> None:
    capabilities, discovery = scene()
    await capabilities.refresh()
    discovery.ending = frozenset({"PodMonitor"})
    await capabilities.refresh()
    await capabilities.refresh()

    assert capabilities.installed == {"PrometheusRule"}
