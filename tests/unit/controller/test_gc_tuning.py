"""The garbage collector skips the objects of the start, and still finds cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from vllm_operator.controller.gc_tuning import YOUNG_OBJECTS, tune


@pytest.fixture
def tuned() -> Iterator[None]:
    before = gc.get_threshold()
    tune()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("tuned")
def test_objects_of_the_start_are_exempt() -> None:
    assert gc.get_freeze_count() > 10_000


@pytest.mark.usefixtures("tuned")
def test_new_cycles_are_collected() -> None:
    node = Node()
    seen = weakref.ref(node)
    del node

    kept: list[list[int]] = [[] for _ in range(YOUNG_OBJECTS + 1_000)]

    assert seen() is None, len(kept)
