"""Provide the scene of the smallest server."""

from __future__ import annotations

import pytest

from tests.unit.apply.scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()
