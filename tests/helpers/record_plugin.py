"""Record what a real API server answers to the commands of the plugin, for its unit tests.

`RECORD_PLUGIN=1 pytest tests/integration/plugin` writes the recording while its tests run.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

from tests.helpers.paths import DATA
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.cluster import Cluster

RECORDING = DATA / "plugin" / "answers.json"
NAMESPACE = "llm"
"""Namespace in the recording, instead of the generated one."""

SERVERS = ("crashed", "mistral", "refused", "scaled")
"""Servers in the recording."""


def is_kept(key: str) -> bool:
    """Keep what is about the servers of the recording, or about the whole cluster; the CRD is generated."""
    parts = key.partition("?")[0].split("/")
    if "customresourcedefinitions" in parts or "nowhere.dev" in parts:
        return False
    instance = key.partition("instance=")[2].partition(",")[0]
    is_object = "namespaces" in parts and len(parts) - parts.index("namespaces") == 4
    named = instance or (parts[-1].removesuffix("-cache") if is_object else "")
    return not named or named in SERVERS


def trimmed(body: Any) -> Any:
    """Return an answer without managed fields, and without objects of other servers."""
    if isinstance(body, dict):
        return {key: trimmed(value) for key, value in body.items() if key != "managedFields"}
    if isinstance(body, list):
        return [trimmed(item) for item in body if not is_other(item)]
    return body


def is_other(item: Any) -> bool:
    """Return whether an item is a VLLMServer, or an Event about an object, of another server."""
    if not isinstance(item, dict):
        return False
    about = item.get("involvedObject") or (item.get("metadata") if "spec" in item and "status" in item else None)
    name = str((about or {}).get("name", SERVERS[0]))
    return not name.startswith(SERVERS)


@contextlib.contextmanager
def recording(namespace: str) -> Iterator[None]:
    """Keep the answers to all reads in the block, if RECORD_PLUGIN is set."""
    if not os.environ.get("RECORD_PLUGIN"):
        yield
        return
    answers: dict[str, Any] = {}
    request = Cluster.request

    def recorded(self: Cluster, method: str, path: str, query: Mapping[str, str] | None = None, *rest: Any) -> Any:
        key = f"{method} {path}?labelSelector={(query or {}).get('labelSelector', '')}".removesuffix("?labelSelector=")
        try:
            body = request(self, method, path, query, *rest)
        except CallError as error:
            if method == "GET" and is_kept(key):
                failure = {"status": error.status, "reason": error.reason, "message": error.detail}
                answers.setdefault(key, failure)
            raise
        if method == "GET" and is_kept(key):
            answers[key] = {"status": 200, "body": trimmed(body)}
        return body

    with mock.patch.object(Cluster, "request", recorded):
        yield
    RECORDING.parent.mkdir(exist_ok=True)
    text = json.dumps(dict(sorted(answers.items())), indent=1).replace(namespace, NAMESPACE)
    RECORDING.write_text(text + "\n")
