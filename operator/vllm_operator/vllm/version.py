"""Which vLLM a server runs, as far as its spec tells."""

from __future__ import annotations

import functools
import re

from vllm_operator.api.spec import Spec

Version = tuple[int, int]
"""Major and minor version of vLLM."""

_NUMBER = re.compile(r"(?:^|[-_+]|vllm)v?([0-9])\.([0-9]+)(?:\.([0-9]+))?")
"""vLLM's own number among others in a tag: not `rocm6.4.1`, `cuda12.8` or the `25.09` of a vendor's calendar."""


def vllm_version(spec: Spec) -> Version | None:
    """Version from `spec.version`, else from the tag of the image; None for a digest or a private tag."""
    number = vllm_release_number(spec)
    return (number[0], number[1]) if number else None


def vllm_release_number(spec: Spec) -> tuple[int, ...] | None:
    """The same with the patch version, as far as it is told."""
    return _number_in(spec.version or _tag(spec.image) or "")


@functools.lru_cache(maxsize=256)
def _number_in(text: str) -> tuple[int, ...] | None:
    """Asked a dozen times for every server, of which most have one of a few images."""
    match = _NUMBER.search(text)
    return tuple(int(part) for part in match.groups() if part is not None) if match else None


def _tag(image: str) -> str | None:
    name = image.partition("@")[0]
    last = name.rpartition("/")[2]
    return last.partition(":")[2] or None
