"""Identify one VLLMServer."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """The namespace and the instance label of one server. Its pods and children carry the label too."""

    namespace: str
    instance: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.instance}"
