"""The watch caches: what the API server said last."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.informers import store as module
from vllm_operator.informers.store import Store
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILDREN, SERVER, UNREAD

KEY = Key("llm", "mistral")


def thing(
    name: str = "mistral",
    version: int = 1,
    uid: str = "u1",
    instance: str | None = "mistral",
    manager: str = "vllm-operator",
) -> dict[str, Any]:
    """A child as the API server sends it."""
    labels = {"app.kubernetes.io/managed-by": manager, **({"app.kubernetes.io/instance": instance} if instance else {})}
    metadata = {"namespace": "llm", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "spec": {"version": version}}


@pytest.fixture
def store() -> Store:
    return Store()


def held(store: Store, name: str = "mistral") -> int | None:
    """Version of the object that the store holds."""
    found = store.get("Service", "llm", name)
    return found["spec"]["version"] if found else None


def test_newer_state_replaces_an_older_one(store: Store) -> None:
    assert store.put("Service", thing(version=9))
    assert store.put("Service", thing(version=10))

    assert held(store) == 10


@pytest.mark.parametrize("version", [9, 10])
def test_stale_or_repeated_event_is_ignored(store: Store, version: int) -> None:
    store.put("Service", thing(version=10))

    assert not store.put("Service", thing(version=version))
    assert held(store) == 10


def test_new_object_of_the_name_replaces_the_old_whatever_its_version(store: Store) -> None:
    store.put("Service", thing(version=10))

    assert store.put("Service", thing(version=2, uid="u2"))
    assert held(store) == 2


def test_deleted_object_is_forgotten(store: Store) -> None:
    store.put("Service", thing())
    store.remove("Service", thing(version=2))

    assert held(store) is None
    assert store.names(KEY, "Service") == []


def test_deletion_of_a_former_object_leaves_its_successor(store: Store) -> None:
    store.put("Service", thing(uid="u2"))
    store.remove("Service", thing(uid="u1", version=9))

    assert held(store) == 1


def test_answer_that_comes_after_the_deletion_brings_nothing_back(store: Store) -> None:
    store.put("Service", thing())
    store.remove("Service", thing(version=3))

    assert not store.put("Service", thing(version=2))
    assert held(store) is None


def test_what_lost_its_labels_and_got_them_back_is_not_dead(store: Store) -> None:
    store.put("Service", thing())
    store.remove("Service", thing(version=3))

    assert store.put("Service", thing(version=4))
    assert held(store) == 4


def test_what_a_list_did_not_hold_comes_back_in_a_later_version_only(store: Store) -> None:
    store.put("Service", thing(version=2))
    store.replace("Service", [], store.uids("Service"), "5")

    assert not store.put("Service", thing(version=4))
    assert store.put("Service", thing(version=6))


def test_what_is_known_to_be_gone_without_a_version_does_not_come_back(store: Store) -> None:
    gone = thing()
    store.put("Service", gone)
    store.remove("Service", {"metadata": {**gone["metadata"], "resourceVersion": ""}})

    assert not store.put("Service", thing(version=9))


SERVED: dict[str, Any] = {"metadata": {"namespace": "llm", "name": "mistral", "uid": "u0", "resourceVersion": "1"}}


def test_what_only_lost_its_label_stays_when_the_watch_tells_it_as_deleted(store: Store) -> None:
    hidden = thing(version=3, manager="platform")
    store.put("Service", hidden)
    store.remove("Service", thing(version=3))

    assert held(store) == 3
    assert store.is_hidden("Service", "llm", "mistral")


def test_what_only_lost_its_label_comes_back_with_the_answer_that_took_it(store: Store) -> None:
    store.put("Service", thing())
    store.remove("Service", thing(version=3))

    assert store.put("Service", thing(version=3, manager="platform"))
    assert held(store) == 3


def test_list_does_not_tell_of_what_lost_its_label_while_its_server_is_there(store: Store) -> None:
    store.put("VLLMServer", SERVED)
    store.put("Service", thing(manager="platform"))

    assert store.replace("Service", [], store.uids("Service"), "9") == set()
    assert held(store) == 1
    store.remove("VLLMServer", {"metadata": {**SERVED["metadata"], "resourceVersion": "10"}})
    assert store.replace("Service", [], store.uids("Service"), "11") == {KEY}
    assert held(store) is None


def test_dead_are_not_remembered_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_DEAD", 2)
    for uid in ("u1", "u2", "u3"):
        store.remove("Service", thing(uid=uid))

    assert [store.put("Service", thing(uid=uid)) for uid in ("u3", "u2", "u1")] == [False, False, True]


def test_complete_list_forgets_the_dead_and_tells_whom_it_concerns(store: Store) -> None:
    store.put("Service", thing("a", instance="a", uid="ua"))
    store.put("Service", thing("b", instance="b", uid="ub"))
    store.put("Service", thing("c", instance="c", uid="uc"))

    listed = [
        thing("b", instance="b", uid="ub", version=2),
        thing("c", instance="c", uid="uc"),
        thing("d", instance="d"),
    ]

    assert store.replace("Service", listed, store.uids("Service")) == {
        Key("llm", "a"),
        Key("llm", "b"),
        Key("llm", "d"),
    }
    assert [held(store, name) for name in "abcd"] == [None, 2, 1, 1]


def test_what_came_in_while_the_list_was_under_way_stays(store: Store) -> None:
    before = store.uids("Service")
    store.put("Service", thing())

    assert store.replace("Service", [], before) == set()
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
def test_stale_list_buries_nothing_that_came_after_it(store: Store, version: str, stays: bool) -> None:
    store.put("Service", thing(version=9))

    touched = store.replace("Service", [], store.uids("Service"), version)

    assert held(store) == (9 if stays else None)
    assert touched == (set() if stays else {KEY})
    assert store.put("Service", thing(version=10)) == stays, "what is no newer than the list is gone"


def test_stale_list_brings_no_former_object_back(store: Store) -> None:
    store.put("Service", thing(version=9, uid="u2"))

    assert store.replace("Service", [thing(version=3, uid="u1")], store.uids("Service"), "8") == set()
    assert held(store) == 9


def test_list_after_a_restored_backup_is_believed(store: Store) -> None:
    store.put("Service", thing(version=9, uid="u1"))

    store.replace("Service", [thing(version=3, uid="u2")], store.uids("Service"), "12")
    assert held(store) == 3


def test_newest_version_is_known(store: Store) -> None:
    assert store.newest("Service") == 0
    for version in (9, 10, 8):
        store.put("Service", thing(f"a{version}", uid=str(version), version=version))

    assert store.newest("Service") == 10


def test_objects_of_a_kind_that_is_not_served_may_come_back_as_they_were(store: Store) -> None:
    store.put("Service", thing(version=9))

    assert store.drop("Service") == {KEY}
    assert held(store) is None
    assert store.put("Service", thing(version=9))


def test_complete_list_is_of_one_kind(store: Store) -> None:
    store.put("Deployment", thing())
    store.put("Service", thing(uid="u2"))

    store.replace("Service", [], store.uids("Service"))

    assert store.get("Deployment", "llm", "mistral") is not None


def test_children_are_found_by_their_server(store: Store) -> None:
    store.put("Service", thing("mistral"))
    store.put("Service", thing("other", instance="other", uid="u2"))
    store.put("Service", thing("foreign", instance=None, uid="u3"))

    assert store.names(KEY, "Service") == ["mistral"]


def test_child_that_loses_its_label_leaves_its_server(store: Store) -> None:
    store.put("Service", thing())
    store.put("Service", thing(version=2, instance=None))

    assert store.names(KEY, "Service") == []
    assert held(store) == 2


def test_list_tells_of_both_servers_when_a_label_was_edited_while_the_watch_was_blind(store: Store) -> None:
    store.put("Service", thing())

    assert store.replace("Service", [thing(version=2, instance="other")], store.uids("Service")) == {
        KEY,
        Key("llm", "other"),
    }
    assert store.key("Service", "llm", "mistral") == Key("llm", "other")


def test_pods_come_by_name(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.put("Pod", thing(name, uid=name))

    assert [pod["metadata"]["name"] for pod in store.pods(KEY)] == ["a", "b", "c"]


def test_server_is_found_by_its_shortened_name(store: Store) -> None:
    name = "m" * 70
    store.put("VLLMServer", thing(name, instance=None))
    (key,) = store.servers()

    assert len(key.instance) <= 63
    assert store.server(key)["metadata"]["name"] == name  # type: ignore[index]


def test_nothing_is_found_for_a_server_that_is_unknown(store: Store) -> None:
    assert store.server(KEY) is None
    assert store.pods(KEY) == ()


def test_managed_fields_are_kept_only_where_someone_else_owns_a_part_of_the_spec(store: Store) -> None:
    own = {"manager": "vllm-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}}
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:type": {}}}}
    body = thing()
    body["metadata"]["managedFields"] = [own, edit]
    store.put("Service", body)

    assert store.get("Service", "llm", "mistral")["metadata"]["managedFields"] == [edit]  # type: ignore[index]
    assert body["metadata"]["managedFields"] == [own, edit]


def with_status(version: int, replicas: int) -> dict[str, Any]:
    """The same child, which reports something else."""
    return {**thing(version=version), "spec": {"version": 1}, "status": {"replicas": replicas}}


def test_child_that_only_reports_something_stays_verified(store: Store) -> None:
    store.put("Service", with_status(1, 0))
    store.verify("Service", "llm", "mistral", "hash")
    store.put("Service", with_status(2, 1))

    assert store.verified("Service", "llm", "mistral") == "hash"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"version": 2}},
        {"metadata": {"labels": {"app.kubernetes.io/instance": "mistral", "new": "label"}}},
        {"metadata": {"deletionTimestamp": "2026-03-02T08:00:00Z"}},
        {"metadata": {"uid": "u2"}},
        {"metadata": {"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:type": {}}}}]}},
    ],
    ids=["spec", "labels", "deletion", "another object", "a foreign field"],
)
def test_child_that_changed_is_compared_again(store: Store, change: dict[str, Any]) -> None:
    store.put("Service", with_status(1, 0))
    store.verify("Service", "llm", "mistral", "hash")
    changed = with_status(2, 0)
    changed["metadata"].update(change.get("metadata", {}))
    changed.update({name: value for name, value in change.items() if name != "metadata"})
    store.put("Service", changed)

    assert store.verified("Service", "llm", "mistral") == ""


@pytest.mark.parametrize(
    ("metadata", "living"),
    [({}, True), ({"uid": "u2"}, False), ({"deletionTimestamp": "2026-03-02T08:00:00Z"}, False)],
    ids=["this very one", "another of the name", "being deleted"],
)
def test_server_lives_as_long_as_it_is_not_being_deleted(store: Store, metadata: dict[str, Any], living: bool) -> None:
    body = thing()
    body["metadata"].update(metadata)
    store.put("VLLMServer", body)

    assert store.is_living(KEY, "u1") == living
    assert not Store().is_living(KEY, "u1")


def test_newest_server_is_the_same_object_until_another_state_is_known(store: Store) -> None:
    store.put("VLLMServer", thing(version=1))
    body = store.server(KEY)
    assert body is not None

    assert store.newest_server(body) is body

    store.put("VLLMServer", thing(version=2))
    assert (store.newest_server(body) or {})["spec"] == {"version": 2}

    store.put("VLLMServer", thing(version=3, uid="u2"))
    assert (store.newest_server(body) or {})["metadata"]["uid"] == "u2"

    store.remove("VLLMServer", thing(version=4, uid="u2"))
    assert store.newest_server(body) is None


def taken(store: Store, kind: str, event: str = "MODIFIED", **changed: Any) -> bool:
    """Whether an event about a child that held its manifest is news."""
    store.put(kind, thing())
    store.verify(kind, "llm", "mistral", "hash")
    return store.take(kind, event, {**thing(), **changed, "metadata": {**thing(version=2)["metadata"]}})


@pytest.mark.parametrize("kind", sorted(UNREAD))
def test_what_a_child_reports_that_nobody_reads_is_no_news(store: Store, kind: str) -> None:
    assert not taken(store, kind, status={"currentHealthy": 1})
    kept = store.get(kind, "llm", "mistral")
    assert kept is not None
    assert kept["status"] == {"currentHealthy": 1}


@pytest.mark.parametrize(
    "kind", ["Deployment", "HorizontalPodAutoscaler", "PersistentVolumeClaim", "Pod", "VLLMServer"]
)
def test_what_a_child_reports_that_the_status_reads_is_news(store: Store, kind: str) -> None:
    assert taken(store, kind, status={"currentHealthy": 1})


@pytest.mark.parametrize("kind", sorted(UNREAD))
def test_child_that_was_edited_or_deleted_is_news(store: Store, kind: str) -> None:
    assert taken(store, kind, spec={"version": 7})
    assert store.take(kind, "DELETED", thing(version=3))
    assert store.take(kind, "ADDED", thing(version=4, uid="u2"))
    assert not store.take(kind, "MODIFIED", thing(version=4, uid="u2")), "the echo of what is known"


def test_versions_of_a_kind_are_known(store: Store) -> None:
    store.put("VLLMServer", thing(version=7))
    store.put("Service", thing(version=8))

    assert store.holds(SERVER, "7")
    assert not store.holds(SERVER, "8")
    assert store.holds(CHILDREN["Service"], "8")

    store.put("VLLMServer", thing(version=9))
    assert (store.holds(SERVER, "7"), store.holds(SERVER, "9")) == (False, True)

    store.remove("VLLMServer", thing(version=10))
    assert not store.holds(SERVER, "9")


def test_spec_is_known_by_uid_and_generation(store: Store) -> None:
    body = thing(version=7)
    body["metadata"]["generation"] = 3
    assert not store.has_spec_of(body)

    store.put("VLLMServer", body)
    assert store.has_spec_of(body)

    later = thing(version=8)
    later["metadata"]["generation"] = 3
    store.put("VLLMServer", later)
    assert store.has_spec_of(body)

    store.put("VLLMServer", {**later, "metadata": {**later["metadata"], "resourceVersion": "9", "generation": 4}})
    assert not store.has_spec_of(body)

    other = thing(version=10, uid="u2")
    other["metadata"]["generation"] = 3
    store.put("VLLMServer", other)
    assert not store.has_spec_of(body)


def test_server_is_new_until_it_has_a_status(store: Store) -> None:
    assert not store.is_new(KEY), "it is not there"
    store.put("VLLMServer", thing())
    assert store.is_new(KEY)
    store.put("VLLMServer", thing(version=2) | {"status": {"phase": "Pending"}})
    assert not store.is_new(KEY)
