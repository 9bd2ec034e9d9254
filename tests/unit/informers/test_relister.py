"""Complete lists: what they forget, and when they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.informers.objects import child
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.relister import Relister
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import Listing
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, Kind

SERVICE = CHILD_KINDS["Service"]


class FakeLists:
    """An API client that answers every list from a script; `meanwhile` happens while a list is made."""

    def __init__(self, *listings: Listing | None, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.listings = iter(listings)
        self.meanwhile = meanwhile

    async def list(self, kind: Kind, namespace: str | None, selector: str | None) -> Listing | None:
        self.meanwhile()
        return next(self.listings)


def relist(store: Store, client: Any, *namespaces: str) -> Relister:
    return Relister(client, store, ServedNamespaces(client, namespaces))


async def test_what_a_list_lacks_is_forgotten_and_its_server_told() -> None:
    store = Store()
    store.put("Service", child(version=9))

    assert await relist(store, FakeLists(Listing([], "10"))).once(SERVICE) == {Key("llm", "mistral")}
    assert store.get("Service", "llm", "mistral") is None


@pytest.mark.parametrize(("version", "stays"), [("8", True), ("10", False), ("opaque", True)])
async def test_what_came_while_a_list_was_made_is_judged_by_its_version(version: str, stays: bool) -> None:
    """An apply's answer came, the object was deleted, and only then was the list read: no watch tells of it again."""
    store = Store()
    lists = FakeLists(Listing([], version), meanwhile=lambda: store.put("Service", child(version=9)))

    assert await relist(store, lists).once(SERVICE) == (set() if stays else {Key("llm", "mistral")})
    assert (store.get("Service", "llm", "mistral") is not None) == stays


async def test_list_older_than_what_is_known_forgets_nothing_and_is_made_again() -> None:
    store = Store()
    store.put("Service", child(version=9))
    lists = relist(store, FakeLists(Listing([], "8"), Listing([], "10")))

    assert await lists.once(SERVICE) == set()
    assert store.get("Service", "llm", "mistral") is not None
    assert lists.is_due(SERVICE)

    await lists.once(SERVICE)
    assert store.get("Service", "llm", "mistral") is None


async def test_what_is_of_a_kind_that_is_not_served_is_forgotten_but_may_come_back() -> None:
    store = Store()
    store.put("Service", child(version=9))

    assert await relist(store, FakeLists(None)).once(SERVICE) == {Key("llm", "mistral")}
    assert store.get("Service", "llm", "mistral") is None
    assert store.put("Service", child(version=9))


async def test_what_is_of_an_optional_kind_stays_until_its_crd_is_known_to_be_gone() -> None:
    store = Store()
    store.put("PodMonitor", child(version=9))
    lists = relist(store, FakeLists(None))

    assert await lists.once(CHILD_KINDS["PodMonitor"]) == set()
    assert store.get("PodMonitor", "llm", "mistral") is not None
    assert lists.versions == {("PodMonitor", None): ""}


async def test_listing_by_kopf_makes_the_kind_due_even_when_it_was_empty() -> None:
    lists = relist(Store(), FakeLists())
    assert not lists.is_due(SERVICE)

    lists.heard(SERVICE)
    assert lists.is_due(SERVICE)


async def test_list_of_one_namespace_forgets_nothing_of_another() -> None:
    store = Store()
    store.put("Service", child(version=9))
    lists = relist(store, FakeLists(Listing([], "12"), Listing([child(version=11)], "13")), "team", "llm")

    await lists.once(SERVICE)
    assert store.get("Service", "llm", "mistral") is not None
    assert lists.versions == {("Service", "team"): "12", ("Service", "llm"): "13"}


async def test_every_namespace_forgets_what_its_own_list_lacks() -> None:
    store = Store()
    store.put("Service", child(version=9))
    lists = relist(store, FakeLists(Listing([], "12"), Listing([], "13")), "team", "llm")

    assert await lists.once(SERVICE) == {Key("llm", "mistral")}
    assert store.get("Service", "llm", "mistral") is None
