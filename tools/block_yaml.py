"""Write objects as YAML that reads well in a diff: block style, sorted keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Write each value in full, without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def in_block_style(objects: Iterable[Any]) -> str:
    """Return the objects as one YAML stream; a text of several lines is a literal block."""
    return yaml.dump_all(objects, Dumper=_Dumper, width=1000, allow_unicode=True, default_flow_style=False)
