"""Write the files that Envoy watches: by rename, only what changed, and in the order that loses no request."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm_operator.gateway.envoy.build import EnvoyFiles
from vllm_operator.gateway.envoy.clusters import with_endpoints

RETIRE_SECONDS = 3600.0
"""Seconds for which a cluster that no route names any more stays: streams may still run in it."""

logger = logging.getLogger(__name__)


class XdsFiles:
    """The folder of Envoy's files.

    Args:
        folder: the folder.
        clock: monotonic time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._written: dict[str, str] = {}
        self._retired: dict[str, tuple[float, dict[str, Any]]] = {}
        self._clusters: dict[str, dict[str, Any]] = {}
        self._endpoints: dict[str, dict[str, Any]] = {}

    def write(self, files: EnvoyFiles) -> list[str]:
        """Write what changed; return the paths of the files that were written.

        New endpoints and clusters come before the routes that name them; clusters go long after the last route.
        """
        written = []
        for name, assignment in files.endpoints.items():
            if files.clusters[name]["type"] != "EDS":
                continue
            written += self._put(f"eds-{name}/eds.json", [assignment])
        for name in set(self._clusters) - set(files.clusters):
            body = self._clusters[name]
            # A file that nobody needs must not be watched.
            body = with_endpoints(body, self._endpoints[name]) if body["type"] == "EDS" else body
            self._retired[name] = (self._clock() + RETIRE_SECONDS, body)
        self._retired = {
            name: (until, body)
            for name, (until, body) in self._retired.items()
            if name not in files.clusters and until > self._clock()
        }
        self._clusters, self._endpoints = dict(files.clusters), dict(files.endpoints)
        kept = {name: body for name, (_, body) in self._retired.items()}
        everything = {**kept, **files.clusters}
        written += self._put("cds/cds.json", [everything[name] for name in sorted(everything)])
        written += self._put("sds/sds.json", files.secrets)
        written += self._put("rds/rds.json", [files.routes])
        written += self._put("rds-resume/rds.json", [files.resume])
        written += self._put("lds/lds.json", files.listeners)
        if written:
            logger.info("wrote %s", ", ".join(written))
        return written

    def _put(self, name: str, resources: list[dict[str, Any]]) -> list[str]:
        text = json.dumps({"resources": resources}, separators=(",", ":"))
        if self._written.get(name) == text:
            return []
        replace_file(self._folder / name, text)
        self._written[name] = text
        return [name]


def replace_file(path: Path, text: str) -> None:
    """Replace a file as a whole; no reader sees a part of it. Only the owner may read it: it may hold keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Envoy reads after each rename in the folder, so the temporary file must stand in another one.
    spare = path.parent.parent / ".tmp"
    spare.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=spare)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(name, path)


def prepare_folder(folder: Path) -> None:
    """Write empty files where there are none: Envoy does not start without the files that it watches."""
    for name in ("lds/lds.json", "cds/cds.json"):
        if not (folder / name).exists():
            replace_file(folder / name, '{"resources":[]}')
