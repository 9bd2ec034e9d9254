"""The version of vLLM that a server runs, as far as its spec shows it."""

from __future__ import annotations

import functools
import re

from vllm_operator.api.spec import Spec

Version = tuple[int, int]
"""Major and minor version of vLLM."""

_NUMBER = re.compile(r"(?:^|[-_+]|vllm)v?([0-9])\.([0-9]+)(?:\.([0-9]+))?")
"""The version of vLLM in a tag: not `rocm6.4.1`, `cuda12.8`, or the year and month `25.09` of a vendor."""


def vllm_version(spec: Spec) -> Version | None:
    """Return the version in `spec.version`, else in the tag of the image; None for a digest or a private tag."""
    number = vllm_release_number(spec)
    return (number[0], number[1]) if number else None


def vllm_release_number(spec: Spec) -> tuple[int, ...] | None:
    """Return the same version with its patch number, if there is one."""
    return _number_in(spec.version or _tag(spec.image) or "")


@functools.lru_cache(maxsize=256)
def _number_in(text: str) -> tuple[int, ...] | None:
    """Return the version in a text; cached, since each server needs it a dozen times and images are few."""
    match = _NUMBER.search(text)
    return tuple(int(part) for part in match.groups() if part is not None) if match else None


def _tag(image: str) -> str | None:
    name = image.partition("@")[0]
    last = name.rpartition("/")[2]
    return last.partition(":")[2] or None
