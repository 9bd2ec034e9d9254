"""The garbage collector is spared what lasts, and still finds cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from vllm_operator.controller.gc_tuning import YOUNG_OBJECTS, tune


@pytest.fixture
def spared() -> Iterator[None]:
    before = gc.get_threshold()
    tune()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("spared")
def test_what_is_there_at_the_start_is_not_searched_again() -> None:
    assert gc.get_freeze_count() > 10_000


@pytest.mark.usefixtures("spared")
def test_cycles_are_still_found_without_being_asked_for() -> None:
    node = Node()
    seen = weakref.ref(node)
    del node

    kept: list[list[int]] = [[] for _ in range(YOUNG_OBJECTS + 1_000)]

    assert seen() is None, len(kept)
