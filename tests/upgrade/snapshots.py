"""Snapshots: servers and their children as a release rendered them, in `released/<version>/`.

They need no git and no former source. One is taken at every release (`make release-snapshot`), and taken again until
that release is tagged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.golden.documents import MANIFESTS, in_block_style
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

Json = dict[str, Any]

RELEASED = Path(__file__).parent / "released"
RESTARTS = Path(__file__).parent / "restarts.yaml"
UID = "4a1f0e7e-9a43-4a38-9d0a-6f2c7f5d8b11"


@dataclass(frozen=True)
class Snapshot:
    """A server, and the children that a release made for it: kind -> body."""

    name: str
    server: Json
    children: dict[str, Json]


def rendered(server: Json) -> dict[str, Json]:
    """The children that this version makes for a server; the server must be accepted."""
    desired = desired_state(server, MONITORING_KINDS)
    assert desired.problems == (), f"{server['metadata']['name']} is refused: {desired.problems}"
    return {manifest.kind: manifest.body for manifest in desired.manifests}


def versions() -> list[str]:
    """Versions that have a snapshot, the newest last."""
    found = [path.name for path in RELEASED.iterdir() if path.is_dir()]
    return sorted(found, key=lambda name: [int(part) for part in re.findall(r"[0-9]+", name)])


def load(version: str) -> Iterator[Snapshot]:
    """The snapshots of a version."""
    for path in sorted((RELEASED / version).glob("*.yaml")):
        server, *children = yaml.safe_load_all(path.read_text())
        yield Snapshot(path.stem, server, {child["kind"]: child for child in children})


def take(version: str) -> Path:
    """Write what this version renders for the manifests of the golden files; the folder."""
    folder = RELEASED / version
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        old.unlink()
    for path in sorted(MANIFESTS.glob("*.yaml")):
        server = yaml.safe_load(path.read_text())
        server["metadata"].update(namespace="llm", uid=UID, generation=1)
        # A paused server keeps its children whatever is rendered.
        server["spec"].pop("paused", None)
        (folder / path.name).write_text(in_block_style([server, *rendered(server).values()]))
    return folder


def pod_template(children: dict[str, Json]) -> Json:
    """What decides whether pods are replaced."""
    template: Json = children["Deployment"]["spec"]["template"]
    return template


def acknowledged(version: str) -> str:
    """Why the upgrade from `version` restarts pods on purpose; empty when it must not."""
    reasons = yaml.safe_load(RESTARTS.read_text()) or {}
    return str(reasons.get(version, ""))
