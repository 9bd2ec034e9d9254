"""Read the snapshots of releases that `tools/release_snapshot.py` writes: servers and their children."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.release_snapshot import RELEASED, Json

RESTARTS = Path(__file__).parent / "restarts.yaml"


@dataclass(frozen=True)
class Snapshot:
    """A server, and the children that a release rendered for it: kind -> body."""

    name: str
    server: Json
    children: dict[str, Json]


def versions() -> list[str]:
    """Return the versions that have a snapshot, the newest last."""
    found = [path.name for path in RELEASED.iterdir() if path.is_dir()]
    return sorted(found, key=lambda name: [int(part) for part in re.findall(r"[0-9]+", name)])


def load(version: str) -> Iterator[Snapshot]:
    """Yield the snapshots of a version."""
    for path in sorted((RELEASED / version).glob("*.yaml")):
        server, *children = yaml.safe_load_all(path.read_text())
        yield Snapshot(path.stem, server, {child["kind"]: child for child in children})


def pod_template(children: dict[str, Json]) -> Json:
    """Return the pod template of the Deployment: a change of it replaces the pods."""
    template: Json = children["Deployment"]["spec"]["template"]
    return template


def acknowledged_restart(version: str) -> str:
    """Return why the upgrade from `version` restarts pods on purpose; empty when it must not."""
    reasons = yaml.safe_load(RESTARTS.read_text()) or {}
    return str(reasons.get(version, ""))
