"""Each node of a table allows what it lists, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.validation.allowed_fields import (
    ANYTHING,
    Each,
    Fields,
    Includes,
    Node,
    NoKeyWith,
    NotRoot,
    OneOf,
    Only,
    violations,
)

CLOSED = Fields({"a": ANYTHING, "b": Only((False,)), "c": Only((True,))}, required=("a",), kept=("c",))
OPEN = Fields({"b": Only((False,))}, forbidden=("exec",))

ROWS: list[tuple[Node, Any, list[str]]] = [
    (ANYTHING, object(), []),
    (Only((False,)), False, []),
    (Only((False,)), 0, ["x"]),
    (Only((0,)), False, ["x"]),
    (Only(("a",)), None, ["x"]),
    (OneOf((("a", "b"), ("c",))), ["a", "b"], []),
    (OneOf((("a", "b"), ("c",))), ["a"], ["x"]),
    (OneOf((("a", "b"), ("c",))), "c", ["x"]),
    (NotRoot(), 1, []),
    (NotRoot(), 0, ["x"]),
    (NotRoot(), True, ["x"]),
    (NotRoot(), "1", ["x"]),
    (Includes("ALL"), ["NET_RAW", "ALL"], []),
    (Includes("ALL"), "ALL", ["x"]),
    (Includes("ALL"), [], ["x"]),
    (NoKeyWith("bad/"), {"good/a": 1}, []),
    (NoKeyWith("bad/"), {"bad/a": 1}, ["x"]),
    (NoKeyWith("bad/"), [], ["x"]),
    (CLOSED, {"a": 1, "b": False}, []),
    (CLOSED, {"a": 1, "b": None}, []),
    (CLOSED, {"a": 1, "c": None}, ["x.c"]),
    (CLOSED, {"b": True, "d": 1}, ["x.b", "x.d", "x.a"]),
    (CLOSED, [], ["x"]),
    (OPEN, {"anything": 1}, []),
    (OPEN, {"exec": None, "b": True}, ["x.exec", "x.b"]),
    (Each(OPEN), [{}, {"exec": {}}], ["x[1].exec"]),
    (Each(OPEN), {}, ["x"]),
    (Each(OPEN, "vllm", ANYTHING), [{"name": "vllm", "exec": {}}, {"name": "other", "exec": {}}], ["x[1].exec"]),
    (Each(OPEN, "vllm", ANYTHING), ["vllm"], ["x[0]"]),
]


@pytest.mark.parametrize(("node", "value", "paths"), ROWS)
def test_places_that_are_not_allowed_are_found(node: Node, value: Any, paths: list[str]) -> None:
    assert [violation.path for violation in violations(node, value, "x")] == paths


def test_long_key_is_cut_in_the_path() -> None:
    (violation,) = violations(Fields(), {"k" * 5000: 1}, "x")

    assert violation.path == "x." + "k" * 80
