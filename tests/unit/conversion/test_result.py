from __future__ import annotations

import pytest

from vllm_operator.conversion.result import Draft, items, mapping, maps, object_name, server_object, shown


def test_fields_are_set_below_their_parents_and_empty_values_leave_them_unset() -> None:
    draft = Draft()
    draft.set("cache.size", "1Gi")
    draft.set("cache.retain", False)
    draft.set("model.revision", None)
    draft.set("resources.limits", {})
    assert draft.spec == {"cache": {"size": "1Gi", "retain": False}}
    assert draft.get("cache.size") == "1Gi"
    assert draft.get("cache.size.more") is None
    assert draft.get("autoscaling.maxReplicas") is None


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("llama-3.1-8b", "llama-3-1-8b"),
        ("My_Model", "my-model"),
        ("7b", "vllm-7b"),
        ("---", "vllm"),
        ("ok", "ok"),
    ],
)
def test_names_become_names_of_services(name: str, valid: str) -> None:
    assert object_name(name) == valid
    draft = Draft()
    assert server_object(name, None, draft)["metadata"] == {"name": valid}
    assert [item.field for item in draft.lost] == ([] if name == valid else ["metadata.name"])


def test_long_names_are_shortened() -> None:
    assert len(object_name("a" * 500)) == 128


def test_values_in_messages_are_one_cut_line() -> None:
    assert shown("a\n b") == "a b"
    assert len(shown("x" * 500)) == 120


def test_wrong_types_become_empty() -> None:
    assert mapping([1]) == {}
    assert items("ab") == []
    assert maps([{"a": 1}, 2, None]) == [{"a": 1}]
