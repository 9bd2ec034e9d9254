"""Places of completions, which one tenant cannot take from another."""

from __future__ import annotations

from vllm_operator.kube.key import Key
from vllm_operator.probing.completion_places import MAX_COMPLETIONS, MAX_RETESTS, CompletionPlaces


def fill(places: CompletionPlaces, key: Key, *, is_retest: bool = False) -> int:
    """Take as many places for a server as it gets, and return their number."""
    for taken in range(1000):
        if not places.take(key, is_retest=is_retest):
            return taken
    raise AssertionError("without end")


def test_namespace_that_takes_all_it_gets_leaves_three_quarters() -> None:
    places = CompletionPlaces()
    taken = sum(fill(places, Key("greedy", f"server-{index}")) for index in range(500))
    assert taken == MAX_COMPLETIONS // 4
    assert fill(places, Key("other", "server")) >= 10


def test_many_greedy_namespaces_leave_a_place_for_the_next() -> None:
    places = CompletionPlaces()
    for namespace in range(16):
        assert sum(fill(places, Key(f"n{namespace}", f"server-{index}")) for index in range(20)) >= 1


def test_server_that_takes_all_it_gets_leaves_places_for_others_of_its_namespace() -> None:
    places = CompletionPlaces()
    assert fill(places, Key("n", "greedy")) >= 20
    assert fill(places, Key("n", "other")) >= 5
    assert fill(places, Key("n", "third")) >= 1


def test_known_stalls_take_half_of_the_places_at_most() -> None:
    places = CompletionPlaces()
    taken = sum(fill(places, Key(f"n{index}", "server"), is_retest=True) for index in range(500))
    assert 0.8 * MAX_RETESTS <= taken <= MAX_RETESTS
    assert fill(places, Key("new", "server")) >= 10


def test_freed_place_can_be_taken_again() -> None:
    places, key = CompletionPlaces(), Key("n", "server")
    for is_retest in (False, True):
        taken = fill(places, key, is_retest=is_retest)
        for _ in range(taken):
            places.free(key, is_retest=is_retest)
        assert fill(places, key, is_retest=is_retest) == taken
        for _ in range(taken):
            places.free(key, is_retest=is_retest)
