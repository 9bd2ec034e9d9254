"""The version of vLLM that a server runs, as far as its spec shows it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.spec import UNKNOWN_VERSION, Spec
from vllm_operator.vllm.image_families import VersionPlace, image_family, image_tag, repository
from vllm_operator.vllm.releases import release_numbers

Version = tuple[int, int]
"""Major and minor version of vLLM."""

_NUMBER = r"([0-9])\.([0-9]{1,4})(?:\.([0-9]{1,4}))?"
_BEHIND_VLLM = re.compile(rf"vllm[-_]?v?{_NUMBER}")
"""The version of vLLM in any tag: not `rocm6.4.1`, `cuda12.8`, a product's `3.2.2`, or the year and month `25.09`."""

_IN_TAG: dict[VersionPlace, re.Pattern[str]] = {
    "tag": re.compile(rf"(?:^|[-_+])v?{_NUMBER}"),
    "leading": re.compile(rf"^v?{_NUMBER}"),
    "release": re.compile(rf"^v{_NUMBER}"),
}


@dataclass(frozen=True)
class ShownVersion:
    """The version of vLLM that a spec shows.

    Attributes:
        number: major, minor and, where it is named, patch.
        declared: `spec.version` names it, not the image.
    """

    number: tuple[int, ...]
    declared: bool

    @property
    def is_measured_range(self) -> bool:
        """Return whether a measured release has this minor version, or lies on either side of it."""
        all_numbers = release_numbers()
        return all_numbers[0][:2] <= self.number[:2] <= all_numbers[-1][:2]

    def __str__(self) -> str:
        return ".".join(map(str, self.number))


def vllm_version(spec: Spec) -> Version | None:
    """Return the version in `spec.version`, else in the image; None where neither shows one that was measured."""
    number = vllm_release_number(spec)
    return (number[0], number[1]) if number else None


def vllm_release_number(spec: Spec) -> tuple[int, ...] | None:
    """Return the same version with its patch number, if there is one.

    A number in an image beyond the measured releases shows nothing about flags: only `spec.version` can declare it.
    """
    shown = shown_version(spec)
    return shown.number if shown and (shown.declared or shown.is_measured_range) else None


def shown_version(spec: Spec) -> ShownVersion | None:
    """Return the version that the spec shows, measured or not; None for `spec.version: unknown` and private tags."""
    if spec.version == UNKNOWN_VERSION:
        return None
    if spec.version:
        return _declared(spec.version)
    return _of_image(spec.image)


def follows_report(spec: Spec) -> bool:
    """Return whether only the replicas can show the version: neither the spec nor the image does."""
    return spec.version is None and shown_version(spec) is None


def reported_version(status: Mapping[str, Any]) -> ShownVersion | None:
    """Return the version that the replicas report, as the status has it; None while none does.

    It names metrics and completes notes. It never changes an argument: a report must not restart the pod it comes from.
    """
    text = status.get("version")
    # During a rollout the status lists two, and neither counts.
    match = _IN_TAG["leading"].match(text) if isinstance(text, str) and "," not in text else None
    return ShownVersion(_digits(match), declared=False) if match else None


@functools.lru_cache(maxsize=256)
def _declared(version: str) -> ShownVersion | None:
    match = _IN_TAG["leading"].search(version)
    return ShownVersion(_digits(match), declared=True) if match else None


@functools.lru_cache(maxsize=256)
def _of_image(image: str) -> ShownVersion | None:
    """Return the version that an image names; cached, since each server needs it a dozen times and images are few."""
    family, tag = image_family(image), image_tag(image)
    place: VersionPlace = family.version if family else "none"
    if place == "name":
        match = _BEHIND_VLLM.search(repository(image).rpartition("/")[2])
    else:
        pattern = _IN_TAG.get(place)
        match = (pattern.search(tag) if pattern else None) or _BEHIND_VLLM.search(tag)
    return ShownVersion(_digits(match), declared=False) if match else None


def _digits(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(part) for part in match.groups() if part is not None)
