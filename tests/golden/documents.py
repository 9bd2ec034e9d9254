"""Golden files: the rendered objects in block style. `make golden` rewrites them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tools.block_yaml import in_block_style

MANIFESTS = Path(__file__).parent / "manifests"
EXPECTED = Path(__file__).parent / "expected"
UPDATES = bool(os.environ.get("UPDATE_GOLDEN"))


def load(name: str) -> Any:
    """Return a manifest of the folder `manifests`, as the API server would send it."""
    body = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    body["metadata"].update(namespace="llm", uid="4a1f0e7e-9a43-4a38-9d0a-6f2c7f5d8b11", generation=1)
    return body


def check(name: str, objects: Iterable[Any], folder: Path = EXPECTED) -> None:
    """Fail if the objects differ from the golden file; with UPDATE_GOLDEN=1, write it first."""
    path, text = folder / f"{name}.yaml", in_block_style(objects)
    if UPDATES:
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} changed: run `make golden`, and read the diff"
