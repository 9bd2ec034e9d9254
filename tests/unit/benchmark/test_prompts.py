from __future__ import annotations

from vllm_operator.benchmark.prompts import Prompts


def test_prompts_have_their_length_and_differ() -> None:
    prompts = Prompts(words=20, seed=1)
    first, second = prompts.new(), prompts.new()
    assert len(first.split()) == len(second.split()) == 20
    assert first != second


def test_the_same_seed_gives_the_same_prompts() -> None:
    assert Prompts(5, seed=3).new() == Prompts(5, seed=3).new()
    assert Prompts(5, seed=3).new() != Prompts(5, seed=4).new()


def test_shared_words_come_first() -> None:
    prompts = Prompts(words=5, shared=10)
    first, second = prompts.new().split(), prompts.new().split()
    assert first[:10] == second[:10]
    assert len(first) == 15


def test_a_turn_begins_with_all_that_was_said() -> None:
    for shared in (0, 4):
        prompts = Prompts(words=3, shared=shared)
        before = prompts.new()
        after = prompts.follow_up(before, " answer")
        assert after.startswith(f"{before} answer ")
        assert len(after.split()) == len(before.split()) + 4
