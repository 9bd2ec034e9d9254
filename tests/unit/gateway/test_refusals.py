from __future__ import annotations

import pytest

from vllm_operator.gateway.refusals import MAX_REFUSED, EnvoyRefusals, part_of


def counters(source: str, success: int, rejected: int) -> str:
    return f"{source}.update_rejected: {rejected}\n{source}.update_success: {success}\n"


def test_a_refused_part_is_named_until_a_later_one_is_taken() -> None:
    refusals = EnvoyRefusals("")
    lds = "listener_manager.lds"
    assert not refusals.read(counters(lds, 1, 0))
    assert refusals.refused == []
    assert refusals.read(counters(lds, 1, 1))
    assert refusals.refused == ["listeners"]
    assert not refusals.read(counters(lds, 1, 1))
    assert not refusals.read(counters(lds, 2, 2))
    assert refusals.refused == ["listeners"]
    assert refusals.read(counters(lds, 3, 2))
    assert refusals.refused == []


def test_a_restarted_envoy_counts_from_zero() -> None:
    refusals = EnvoyRefusals("")
    refusals.read(counters("cluster_manager.cds", 9, 9))
    assert not refusals.read(counters("cluster_manager.cds", 1, 1))
    assert refusals.refused == ["clusters"]
    assert refusals.read(counters("cluster_manager.cds", 2, 1))
    assert refusals.refused == []


def test_parts_that_are_gone_are_forgotten_and_their_number_is_bounded() -> None:
    refusals = EnvoyRefusals("")
    refusals.read("".join(counters(f"cluster.s{number}", 0, 1) for number in range(40)))
    assert len(refusals.refused) == MAX_REFUSED
    assert refusals.read(counters("cluster.s0", 0, 1))
    assert refusals.refused == ["endpoints of s0"]
    assert refusals.read("no statistics at all")
    assert refusals.refused == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("listener_manager.lds", "listeners"),
        ("cluster_manager.cds", "clusters"),
        ("http.gateway.rds.gateway", "routes"),
        ("cluster.tiny.PrefixAware", "endpoints of tiny.PrefixAware"),
        ("sds.server", "certificate"),
        ("runtime", "runtime"),
    ],
)
def test_counters_have_names(source: str, name: str) -> None:
    assert part_of(source) == name
