"""The catalogue of devices: memory, compute capability, bandwidth, and the slices of MIG."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

from vllm_operator.sizing.units import GIB, MIB

MAX_NAME = 200
"""Length of a device's name that is looked up."""


class UnknownDeviceError(ValueError):
    """A name that the catalogue does not have."""


@dataclass(frozen=True)
class Device:
    """One device, or one slice of it.

    Attributes:
        name: the catalogue's name.
        kind: gpu, cpu or tpu.
        smi_bytes: memory as nvidia-smi counts it.
        memory_bytes: memory as the engine sees it; the driver keeps the rest.
        capability: CUDA's compute capability; 0 for others.
        bandwidth: bytes a second between memory and processor.
        nvlink: whether GPUs of a node are joined by NVLink, or by the vendor's counterpart.
        vendor: nvidia, amd, google or none.
        family: generation of a TPU.
        is_slice: whether this is a slice of MIG.
    """

    name: str
    kind: str
    smi_bytes: int
    memory_bytes: int
    capability: float = 0
    bandwidth: float = 0
    nvlink: bool = False
    vendor: str = "nvidia"
    family: str = ""
    is_slice: bool = False


def find_device(name: str) -> Device:
    """Return the device with a name: `H100-80GB`, a label such as `NVIDIA-H100-80GB-HBM3`, or with a MIG profile.

    Raises:
        UnknownDeviceError: the catalogue has no such device; the message names the nearest ones.
    """
    wanted = _normal(name[:MAX_NAME])
    known = _names()
    match = re.search(r"MIG-?(\d[gG]\.\d{1,3}[gG][bB])", name[:MAX_NAME])
    if match:
        return _slice(name, match[1].lower(), wanted)
    if wanted in known:
        return known[wanted]
    near = get_close_matches(wanted, known, n=3, cutoff=0.4)
    hint = ", ".join(dict.fromkeys(known[item].name for item in near)) or ", ".join(sorted(list_devices())[:8])
    raise UnknownDeviceError(f"{name[:MAX_NAME]!r} is in no table of devices; the nearest are {hint}")


def custom_device(gib: float) -> Device:
    """Return a device that only its memory is known of, in GiB as nvidia-smi counts them."""
    size = int(gib * GIB)
    return Device(f"{gib:g} GiB", "gpu", size, int(size * _VISIBLE))


def cpu_device(kv_gib: float) -> Device:
    """Return a CPU; the KV cache gets `VLLM_CPU_KVCACHE_SPACE`, whatever the weights take."""
    return Device("CPU", "cpu", 0, int(kv_gib * GIB), vendor="none")


def list_devices() -> dict[str, Device]:
    """Return all devices by the catalogue's name."""
    return {device.name: device for device in _names().values()}


_VISIBLE = 0.985
"""Share of a card's memory that the driver leaves, when the card is not in the catalogue: 0.981 to 0.995 for those."""

_DROPPED = ("NVIDIA", "GEFORCE", "AMD", "INSTINCT", "TESLA", "GRID", "MIG", "SHARED")


def _normal(name: str) -> str:
    spaced = re.sub(r"(RTX)(?=\d)", r"\1-", name.upper())
    parts = [part for part in re.split(r"[^A-Z0-9.]+", spaced) if part and part not in _DROPPED]
    return "-".join(f"{part}B" if re.fullmatch(r"\d{2,3}G", part) else part for part in parts)


def _slice(name: str, profile: str, wanted: str) -> Device:
    base = wanted.split("-" + profile.upper())[0].removesuffix("-MIG")
    for entry in _document()["slices"]:
        parent = _names()[_normal(entry["of"])]
        aliases = {alias for alias, device in _names().items() if device.name == parent.name}
        if entry["profile"] == profile and base in aliases:
            size = int(entry["gib"] * GIB)
            return replace(
                parent, name=f"{parent.name} {profile}", smi_bytes=size, memory_bytes=size, nvlink=False, is_slice=True
            )
    raise UnknownDeviceError(f"{name[:MAX_NAME]!r}: {base or 'the device'} has no MIG profile {profile}")


@functools.cache
def _document() -> Mapping[str, Any]:
    text = files("vllm_operator.sizing").joinpath("gpus.json").read_text(encoding="utf-8")
    document: Mapping[str, Any] = json.loads(text)
    return document


@functools.cache
def _names() -> dict[str, Device]:
    found: dict[str, Device] = {}
    for entry in _document()["devices"]:
        vendor = entry.get("vendor", "nvidia")
        device = Device(
            name=entry["name"],
            kind="tpu" if vendor == "google" else "gpu",
            smi_bytes=entry["smi_mib"] * MIB,
            memory_bytes=int(entry["usable_gib"] * GIB),
            capability=entry["capability"],
            bandwidth=entry["bandwidth_gb"] * 1e9,
            nvlink=entry["nvlink"],
            vendor=vendor,
            family=entry.get("family", ""),
        )
        for alias in (entry["name"], *entry["aliases"]):
            found[_normal(alias)] = device
    return found
