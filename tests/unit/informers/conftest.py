"""An empty cache for each test."""

from __future__ import annotations

import pytest

from vllm_operator.informers.store import Store


@pytest.fixture
def store() -> Store:
    return Store()
