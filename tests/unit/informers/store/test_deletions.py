"""Keep deleted objects deleted, and objects that only left the watch alive."""

from __future__ import annotations

from typing import Any

from tests.unit.informers.objects import KEY, child, held, take_list
from vllm_operator.informers.store import Store


def test_late_answer_does_not_revive_a_deleted_object(store: Store) -> None:
    store.put("Service", child())
    store.remove("Service", child(version=3))

    assert not store.put("Service", child(version=2))
    assert held(store) is None


def test_object_that_regains_its_labels_in_a_later_version_is_revived(store: Store) -> None:
    store.put("Service", child())
    store.remove("Service", child(version=3))

    assert store.put("Service", child(version=4))
    assert held(store) == 4


def test_object_that_a_list_lacked_is_revived_only_by_a_later_version(store: Store) -> None:
    store.put("Service", child(version=2))
    take_list(store, "Service", [], store.uids("Service"), "5")

    assert not store.put("Service", child(version=4))
    assert store.put("Service", child(version=6))


def test_deletion_without_a_version_is_final(store: Store) -> None:
    gone = child()
    store.put("Service", gone)
    store.remove("Service", {"metadata": {**gone["metadata"], "resourceVersion": ""}})

    assert not store.put("Service", child(version=9))


SERVED: dict[str, Any] = {"metadata": {"namespace": "llm", "name": "mistral", "uid": "u0", "resourceVersion": "1"}}


def test_unlabelled_object_survives_its_deleted_event(store: Store) -> None:
    hidden = child(version=3, manager="platform")
    store.put("Service", hidden)
    store.remove("Service", child(version=3))

    assert held(store) == 3
    assert store.is_unlabelled("Service", "llm", "mistral")


def test_answer_revives_an_object_that_lost_its_label_in_that_version(store: Store) -> None:
    store.put("Service", child())
    store.remove("Service", child(version=3))

    assert store.put("Service", child(version=3, manager="platform"))
    assert held(store) == 3


def test_list_does_not_remove_an_unlabelled_object_while_its_server_exists(store: Store) -> None:
    store.put("VLLMServer", SERVED)
    store.put("Service", child(manager="platform"))

    assert take_list(store, "Service", [], store.uids("Service"), "9") == set()
    assert held(store) == 1
    store.remove("VLLMServer", {"metadata": {**SERVED["metadata"], "resourceVersion": "10"}})
    assert take_list(store, "Service", [], store.uids("Service"), "11") == {KEY}
    assert held(store) is None
