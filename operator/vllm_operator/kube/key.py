"""The key of one server."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """One server: its namespace and its instance label, which pods and children carry too."""

    namespace: str
    instance: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.instance}"
