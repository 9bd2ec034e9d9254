"""Take over complete lists."""

from __future__ import annotations

import pytest

from tests.unit.informers.objects import KEY, child, held, packed, take_list
from vllm_operator.informers.store import Store
from vllm_operator.kube.key import Key


def test_list_removes_what_it_lacks_and_returns_the_servers_concerned(store: Store) -> None:
    store.put("Service", child("a", instance="a", uid="ua"))
    store.put("Service", child("b", instance="b", uid="ub"))
    store.put("Service", child("c", instance="c", uid="uc"))

    listed = [
        child("b", instance="b", uid="ub", version=2),
        child("c", instance="c", uid="uc"),
        child("d", instance="d"),
    ]

    assert take_list(store, "Service", packed(*listed), store.uids("Service")) == {
        Key("llm", "a"),
        Key("llm", "b"),
        Key("llm", "d"),
    }
    assert [held(store, name) for name in "abcd"] == [None, 2, 1, 1]


def test_object_that_came_during_the_list_stays(store: Store) -> None:
    before = store.uids("Service")
    store.put("Service", child())

    assert take_list(store, "Service", [], before) == set()
    assert held(store) == 1


@pytest.mark.parametrize(
    ("version", "stays"),
    [
        pytest.param("8", True, id="an older list cannot know it"),
        pytest.param("10", False, id="a newer list would hold it"),
        pytest.param("", False, id="a list of unknown age is believed"),
        pytest.param("opaque", False, id="an age that cannot be compared is believed"),
    ],
)
def test_stale_list_removes_nothing_newer(store: Store, version: str, stays: bool) -> None:
    store.put("Service", child(version=9))

    touched = take_list(store, "Service", [], store.uids("Service"), version)

    assert held(store) == (9 if stays else None)
    assert touched == (set() if stays else {KEY})
    assert store.put("Service", child(version=10)) == stays, "what is no newer than the list is gone"


def test_stale_list_does_not_revive_a_former_object(store: Store) -> None:
    store.put("Service", child(version=9, uid="u2"))

    assert take_list(store, "Service", packed(child(version=3, uid="u1")), store.uids("Service"), "8") == set()
    assert held(store) == 9


def test_list_after_a_restored_backup_replaces_the_cache(store: Store) -> None:
    store.put("Service", child(version=9, uid="u1"))

    take_list(store, "Service", packed(child(version=3, uid="u2")), store.uids("Service"), "12")
    assert held(store) == 3


def test_newest_version_of_a_kind(store: Store) -> None:
    assert store.newest_version("Service") == 0
    for version in (9, 10, 8):
        store.put("Service", child(f"a{version}", uid=str(version), version=version))

    assert store.newest_version("Service") == 10


def test_objects_of_a_dropped_kind_may_come_back_unchanged(store: Store) -> None:
    store.put("Service", child(version=9))

    assert store.drop("Service") == {KEY}
    assert held(store) is None
    assert store.put("Service", child(version=9))


def test_list_replaces_one_kind_only(store: Store) -> None:
    store.put("Deployment", child())
    store.put("Service", child(uid="u2"))

    take_list(store, "Service", [], store.uids("Service"))

    assert store.get("Deployment", "llm", "mistral") is not None


def test_list_returns_both_servers_when_an_instance_label_changed(store: Store) -> None:
    store.put("Service", child())

    assert take_list(store, "Service", packed(child(version=2, instance="other")), store.uids("Service")) == {
        KEY,
        Key("llm", "other"),
    }
    assert store.key("Service", "llm", "mistral") == Key("llm", "other")


def test_events_between_two_steps_of_a_list_count(store: Store) -> None:
    """A list of 10,000 objects is taken over in slices, and watches go on in between."""
    for name in "abcd":
        store.put("Service", child(name, uid=name, version=1))
    listed = packed(*(child(name, uid=name, version=5) for name in "abce"))
    steps = store.replace("Service", listed, store.uids("Service"), "10")
    next(steps)
    store.remove("Service", child("a", uid="a", version=11))
    store.put("Service", child("b", uid="b", version=12))
    store.put("Service", child("d", uid="new", version=13))
    store.remove("Service", child("e", uid="e", version=14))
    for _ in steps:
        pass

    found = {name: store.get("Service", "llm", name) for name in "abcde"}
    versions = {name: body["metadata"]["resourceVersion"] for name, body in found.items() if body}
    assert versions == {"b": "12", "c": "5", "d": "13"}
