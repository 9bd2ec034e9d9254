"""Lists of whole kinds: they remove what vanished, and stale ones are repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.helpers.fakes import FakeClock
from tests.unit.informers.objects import child
from vllm_operator.informers.entry import Entry
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.relister import GONE_SECONDS, Relister
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import Listing
from vllm_operator.kube.codec import to_json
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, Kind

SERVICE = CHILD_KINDS["Service"]


class FakeLists:
    """An API client that answers every list from a script; `during` runs while a list is made."""

    def __init__(self, *listings: Listing[dict[str, Any]] | None, during: Callable[[], object] = lambda: None) -> None:
        self.listings = iter(listings)
        self.during = during

    async def list(self, kind: Kind, namespace: str | None, selector: str | None, pack: Any) -> Listing[Entry] | None:
        self.during()
        listing = next(self.listings)
        return listing and Listing([pack(to_json(body)) for body in listing.items], listing.version)


def relist(store: Store, client: Any, *namespaces: str) -> Relister:
    return Relister(client, store, ServedNamespaces(client, namespaces))


async def test_object_that_a_list_lacks_is_forgotten_and_its_server_returned() -> None:
    store = Store()
    store.put("Service", child(version=9))

    assert await relist(store, FakeLists(Listing([], "10"))).relist(SERVICE) == {Key("llm", "mistral")}
    assert store.get("Service", "llm", "mistral") is None


@pytest.mark.parametrize(("version", "stays"), [("8", True), ("10", False), ("opaque", True)])
async def test_object_that_came_during_a_list_is_judged_by_its_version(version: str, stays: bool) -> None:
    """The answer to an apply came, then the object was deleted, then the list was read: no watch event follows."""
    store = Store()
    lists = FakeLists(Listing([], version), during=lambda: store.put("Service", child(version=9)))

    assert await relist(store, lists).relist(SERVICE) == (set() if stays else {Key("llm", "mistral")})
    assert (store.get("Service", "llm", "mistral") is not None) == stays


async def test_list_older_than_the_cache_removes_nothing_and_is_repeated() -> None:
    store = Store()
    store.put("Service", child(version=9))
    lists = relist(store, FakeLists(Listing([], "8"), Listing([], "10")))

    assert await lists.relist(SERVICE) == set()
    assert store.get("Service", "llm", "mistral") is not None
    assert lists.is_scheduled(SERVICE)

    await lists.relist(SERVICE)
    assert store.get("Service", "llm", "mistral") is None


async def test_kind_that_is_not_served_is_forgotten_after_a_while_but_may_come_back() -> None:
    store, clock = Store(), FakeClock()
    store.put("Service", child(version=9))
    lists = Relister(FakeLists(None, None, None), store, ServedNamespaces(cast("Any", None), ()), clock)

    assert await lists.relist(SERVICE) == set()
    clock.now += GONE_SECONDS - 0.1
    assert await lists.relist(SERVICE) == set()
    assert store.get("Service", "llm", "mistral") is not None

    clock.now += 0.1
    assert await lists.relist(SERVICE) == {Key("llm", "mistral")}
    assert store.get("Service", "llm", "mistral") is None
    assert store.put("Service", child(version=9))


async def test_kind_that_is_missing_now_and_then_is_not_forgotten() -> None:
    """An API server that starts may answer 404 until it has read its CRDs."""
    store, clock = Store(), FakeClock()
    store.put("Service", child(version=9))
    answers = (None, Listing([child(version=9)], "9"), None)
    lists = Relister(FakeLists(*answers), store, ServedNamespaces(cast("Any", None), ()), clock)
    for _ in answers:
        assert await lists.relist(SERVICE) == set()
        clock.now += 2 * GONE_SECONDS

    assert store.get("Service", "llm", "mistral") is not None


async def test_optional_kind_stays_until_discovery_finds_its_crd_gone() -> None:
    store = Store()
    store.put("PodMonitor", child(version=9))

    result = await relist(store, FakeLists(None)).relist_namespace(CHILD_KINDS["PodMonitor"], None)
    assert result == (set(), "")
    assert store.get("PodMonitor", "llm", "mistral") is not None


async def test_list_of_one_namespace_forgets_nothing_of_another() -> None:
    store = Store()
    store.put("Service", child(version=9))
    lists = relist(store, FakeLists(Listing([], "12"), Listing([child(version=11)], "13")), "team", "llm")

    assert await lists.relist_namespace(SERVICE, "team") == (set(), "12")
    assert store.get("Service", "llm", "mistral") is not None
    assert await lists.relist_namespace(SERVICE, "llm") == ({Key("llm", "mistral")}, "13")


async def test_each_namespace_forgets_what_its_own_list_lacks() -> None:
    store = Store()
    store.put("Service", child(version=9))
    lists = relist(store, FakeLists(Listing([], "12"), Listing([], "13")), "team", "llm")

    assert await lists.relist(SERVICE) == {Key("llm", "mistral")}
    assert store.get("Service", "llm", "mistral") is None
