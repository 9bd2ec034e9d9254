"""Record how a real API server keeps the operator's children, for the tests of drift.

`python -m tests.helpers.record_live` needs kubectl and the kubeconfig of a cluster that may be written to. It applies
the children of the golden manifests as a dry run, and edits a Deployment in a new namespace.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from tests.golden import documents
from tests.helpers.paths import DATA
from vllm_operator.api.names import MANAGER
from vllm_operator.desired.state import desired_state

FOLDER = DATA / "live"
NAMESPACE = "drift-recording"
SERVERS = ("smallest", "full", "scaled", "cpu-quickstart")
EDITS: dict[str, tuple[str, ...]] = {
    "untouched": (),
    "scaled": ("scale", "deployment/mistral", "--replicas=1"),
    "restarted": ("rollout", "restart", "deployment/mistral"),
    "labelled": ("label", "deployment/mistral", "team=ml"),
    "image-edited": ("set", "image", "deployment/mistral", "vllm=other:1"),
    "variable-added": ("set", "env", "deployment/mistral", "ADDED=1"),
    "sidecar-added": (
        *("patch", "deployment/mistral", "-p"),
        '{"spec":{"template":{"spec":{"containers":[{"name":"proxy","image":"proxy:1"}]}}}}',
    ),
    "paused": ("rollout", "pause", "deployment/mistral"),
}
"""Name -> what a person does with kubectl."""


def children(name: str, namespace: str) -> Iterator[dict[str, Any]]:
    """The children of a golden manifest, without the owner, which does not exist."""
    body = documents.load(name)
    body["metadata"]["namespace"] = namespace
    for manifest in desired_state(body, frozenset()).manifests:
        child = manifest.body
        child["metadata"].pop("ownerReferences", None)
        yield child


def kubectl(*arguments: str, stdin: Mapping[str, Any] | None = None) -> str:
    done = subprocess.run(
        ["kubectl", *arguments], input=json.dumps(stdin) if stdin else None, capture_output=True, text=True, check=True
    )
    return done.stdout


def apply(body: Mapping[str, Any], *options: str) -> dict[str, Any]:
    """Apply as the operator does."""
    command = ("apply", "--server-side", f"--field-manager={MANAGER}", "-f", "-", "-o", "json", "--show-managed-fields")
    answer: dict[str, Any] = json.loads(kubectl(*command, *options, stdin=body))
    return answer


def record(name: str, body: dict[str, Any]) -> None:
    """Keep an object, without what differs from one recording to the next."""
    metadata = body["metadata"]
    metadata["resourceVersion"] = "1"
    metadata.pop("creationTimestamp", None)
    body.pop("status", None)
    for entry in metadata.get("managedFields", []):
        entry["time"] = "2026-03-02T08:00:00Z"
    metadata["uid"] = "00000000-0000-4000-8000-000000000000"
    body["spec"] = {key: value for key, value in body["spec"].items() if key not in {"clusterIP", "clusterIPs"}}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def edited(edit: tuple[str, ...]) -> dict[str, Any]:
    """A Deployment without replicas after a person's edit."""
    body = next(child for child in children("smallest", NAMESPACE) if child["kind"] == "Deployment")
    body["spec"]["replicas"] = 0
    kubectl("-n", NAMESPACE, "delete", "deployment", "--all", "--wait")
    apply(body)
    if edit:
        kubectl("-n", NAMESPACE, *edit)
    found: dict[str, Any] = json.loads(
        kubectl("-n", NAMESPACE, "get", "deployment/mistral", "-o", "json", "--show-managed-fields")
    )
    return found


def main() -> None:
    """Record everything."""
    for server in SERVERS:
        for body in children(server, "default"):
            record(f"{server}-{body['kind'].lower()}", apply(body, "--dry-run=server"))
    kubectl("create", "namespace", NAMESPACE)
    try:
        for name, edit in EDITS.items():
            record(f"edit-{name}", edited(edit))
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


if __name__ == "__main__":
    main()
