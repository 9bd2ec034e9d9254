"""Paths of fields as people write them."""

from __future__ import annotations

from vllm_operator.offline.refusal import Refusal, as_text, refusal


def test_path_has_dots_and_indexes() -> None:
    assert as_text(("spec", "engine", "env", 0, "name")) == "spec.engine.env[0].name"


def test_message_starts_with_the_field_if_there_is_one() -> None:
    assert refusal(("spec", "a"), "X", "is wrong") == Refusal("spec.a", "X", "spec.a: is wrong")
    assert refusal((), "X", "is wrong").message == "is wrong"
