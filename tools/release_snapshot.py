"""Write the snapshot of a release: `python -m tools.release_snapshot [VERSION]`, by default this source's version.

A snapshot holds servers and their children as the release renders them, in `tests/upgrade/released/<version>/`. The
upgrade test of the next release reads it, so that it needs neither git nor former sources. Until a release is tagged,
its snapshot may be written again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from tools.block_yaml import in_block_style
from tools.localcluster.settings import REPOSITORY
from vllm_operator import __version__
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

Json = dict[str, Any]

MANIFESTS = REPOSITORY / "tests" / "golden" / "manifests"
RELEASED = REPOSITORY / "tests" / "upgrade" / "released"
UID = "4a1f0e7e-9a43-4a38-9d0a-6f2c7f5d8b11"


def rendered_children(server: Json) -> dict[str, Json]:
    """Return the children that this source renders for an accepted server: kind -> body."""
    desired = desired_state(server, MONITORING_KINDS)
    assert desired.problems == (), f"{server['metadata']['name']} is refused: {desired.problems}"
    return {manifest.kind: manifest.body for manifest in desired.manifests}


def write_snapshot(version: str) -> Path:
    """Replace the snapshot of a version by what this source renders for the golden manifests; return its folder."""
    folder = RELEASED / version
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        old.unlink()
    for path in sorted(MANIFESTS.glob("*.yaml")):
        server = yaml.safe_load(path.read_text())
        server["metadata"].update(namespace="llm", uid=UID, generation=1)
        # A paused server keeps its children whatever is rendered.
        server["spec"].pop("paused", None)
        (folder / path.name).write_text(in_block_style([server, *rendered_children(server).values()]))
    return folder


if __name__ == "__main__":
    print(write_snapshot(sys.argv[1] if len(sys.argv) > 1 else __version__))
