"""Replace `$(NAME)` in arguments and variables, as the kubelet does (`third_party/forked/golang/expansion`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
"""`$$`, which is a dollar sign, or `$(NAME)`."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with the value of each known variable; an unknown reference stays as it is."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def references(text: str) -> tuple[str, ...]:
    """Return the names of the variables that `text` refers to."""
    return tuple(match[2] for match in _REFERENCE.finditer(text) if match[1] != "$")
