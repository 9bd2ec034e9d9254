from __future__ import annotations

import json

import pytest

from tools.hostile.answers import ANSWERS
from tools.hostile.kinds import KINDS, anagrams, chosen, key_of_paths, large_manifests, pod_status

ETCD_LIMIT = 1.5 * 2**20
NOW = "2026-11-24T12:00:00Z"
FAULTS = {"c1", "c2", "h1", "h2", "h3", "h4", "h5", "m2", "m3", "m4", "m5", "m6", "m7", "m7-pending"}


def test_no_names_choose_all_kinds() -> None:
    assert chosen("") == list(KINDS)


def test_names_choose_kinds_in_their_order() -> None:
    assert [kind.name for kind in chosen("H3, c1")] == ["h3", "c1"]


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no hostile kind h99: known are c1,"):
        chosen("c1,h99")


def test_each_fault_and_ten_variations_have_a_kind() -> None:
    names = [kind.name for kind in KINDS]

    assert len(set(names)) == len(names)
    assert set(names) >= FAULTS
    assert len(set(names) - FAULTS) == 10


def test_each_kind_does_something() -> None:
    idle = [kind.name for kind in KINDS if not (kind.replicas or kind.manifests or kind.change or kind.act)]

    assert idle == []


def test_answers_of_each_kind_exist() -> None:
    assert {kind.answers for kind in KINDS} - {""} <= set(ANSWERS)


def test_patches_differ_from_turn_to_turn() -> None:
    assert anagrams(1) != anagrams(2)
    assert key_of_paths(1) != key_of_paths(2)


def test_large_manifests_are_of_legal_size() -> None:
    sizes = {len(json.dumps(body, separators=(",", ":"))) for body in large_manifests("hostile")}

    assert min(sizes) > 2**20
    assert max(sizes) < ETCD_LIMIT


def test_serving_pod_is_ready_at_its_address() -> None:
    status = pod_status("serving", "127.67.0.1", "", 1, NOW)

    assert status["podIP"] == "127.67.0.1"
    assert {entry["status"] for entry in status["conditions"]} == {"True"}
    assert "running" in status["containerStatuses"][0]["state"]


def test_crashed_pod_shows_its_message_and_another_container_each_time() -> None:
    first, second = (pod_status("crashed", "127.67.0.1", "boom", number, NOW) for number in (1, 2))

    end = first["containerStatuses"][0]["lastState"]["terminated"]
    assert end["message"] == "boom"
    assert first["containerStatuses"][0]["containerID"] != second["containerStatuses"][0]["containerID"]
