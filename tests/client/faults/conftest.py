"""Make the garbage collections of these tests cheap."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def few_objects() -> Iterator[None]:
    """Leave what exists now out of the collections that show what a call leaves behind."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
