"""The table of well-known models: the fields of their config.json that decide their size, each with its source."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class KnownModel:
    """A model of the table.

    Attributes:
        name: its name on the Hugging Face Hub.
        source: URL of its config.json.
        config: the fields of it.
    """

    name: str
    source: str
    config: Mapping[str, Any]


def known_model(name: str) -> KnownModel | None:
    """Return the model with a name on the Hub, in any case; None if the table has none."""
    return _table().get(name.lower())


def known_names() -> tuple[str, ...]:
    """Return the names of the table, sorted."""
    return tuple(sorted({model.name for model in _table().values()}))


@functools.cache
def _table() -> dict[str, KnownModel]:
    text = files("vllm_operator.sizing").joinpath("known_models.json").read_text(encoding="utf-8")
    found: dict[str, KnownModel] = {}
    for entry in json.loads(text)["models"]:
        for name in entry["names"]:
            source = f"https://huggingface.co/{name}/blob/main/config.json"
            found[name.lower()] = KnownModel(name, source, entry["config"])
    return found
