"""Take a failed rollout back to the pod template that served last, and hold it until the spec changes its pods.

The Deployment carries all that this needs in one annotation, so it survives a restart of the operator: the digest of
the pod template that the spec asks for, the template that served before it, and why the wanted one was rejected.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from vllm_operator.api.names import ANNOTATION_HASH, GROUP
from vllm_operator.apply.drift import matches
from vllm_operator.kube.codec import compress_json, parse_json, to_json
from vllm_operator.kube.fields import get, get_int, get_map, get_str
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object

ANNOTATION_ROLLBACK = f"{GROUP}/rollback"

MAX_TEMPLATE_BYTES = 256 * 1024
"""Longest JSON of a template that is kept, and that is read back."""

MAX_STORED_BYTES = 64 * 1024
"""Longest text that is kept: Kubernetes allows 256 KiB for all annotations of an object."""

MAX_CAUSE_LENGTH = 512


@dataclass(frozen=True)
class RollbackState:
    """The annotation.

    Attributes:
        wanted: digest of the pod template that the spec asks for.
        served: the pod template that served before, compressed; empty when none did.
        cause: why the wanted one was rejected; empty while it is not.
    """

    wanted: str
    served: str = ""
    cause: str = ""

    def as_text(self) -> str:
        """Return the text of the annotation."""
        return to_json({"wanted": self.wanted, "served": self.served, "cause": self.cause}).decode()


def rollback_state(deployment: Object | None) -> RollbackState | None:
    """Return the state that a live Deployment carries; None without one that can be read."""
    text = get_str(get(deployment, "metadata", "annotations"), ANNOTATION_ROLLBACK)
    if not text or len(text) > 2 * MAX_STORED_BYTES:
        return None
    try:
        found = parse_json(text.encode())
    except (ValueError, RecursionError):
        return None
    wanted, served, cause = (get_str(found, name) for name in ("wanted", "served", "cause"))
    return RollbackState(wanted, served, cause[:MAX_CAUSE_LENGTH])


def rolled_back(deployment: Object | None) -> str:
    """Return why the rollout of a live Deployment was taken back; empty when it was not."""
    state = rollback_state(deployment)
    return state.cause if state else ""


def with_rollback(manifest: Manifest, deployment: Object | None, failure: str) -> Manifest:
    """Return the manifest of a Deployment with its rollback state; with the former pods where the new ones fail.

    Args:
        manifest: the Deployment that the spec asks for.
        deployment: the live Deployment; None while it does not exist.
        failure: why the rollout of its pods fails; empty while it does not.
    """
    if deployment is None:
        return manifest
    body = manifest.body
    state = next_state(body["spec"]["template"], deployment, failure)
    template = stored_template(state.served) if state.cause else None
    if template is not None:
        body["spec"]["template"] = template
    body["metadata"]["annotations"] = {**body["metadata"]["annotations"], ANNOTATION_ROLLBACK: state.as_text()}
    return with_body(manifest, body)


def with_body(manifest: Manifest, body: dict[str, Any]) -> Manifest:
    """Return a manifest with a changed body, and with the hash of that body."""
    annotations = {key: text for key, text in body["metadata"]["annotations"].items() if key != ANNOTATION_HASH}
    changed = {**body, "metadata": {**body["metadata"], "annotations": annotations}}
    annotations[ANNOTATION_HASH] = digest = _digest(changed)
    return Manifest(manifest.kind, manifest.name, digest, compress_json(changed))


def next_state(wanted: Mapping[str, Any], deployment: Object, failure: str) -> RollbackState:
    """Return the rollback state for a pod template.

    Args:
        wanted: the pod template that the spec asks for.
        deployment: the live Deployment.
        failure: why the rollout of that template fails; empty while it does not.
    """
    digest, before = _digest(wanted), rollback_state(deployment)
    if before is None or before.wanted != digest:
        live = get_map(deployment, "spec", "template")
        is_kept = is_rolled_out(deployment) and not (before and before.cause)
        served = _stored(live) if is_kept else (before.served if before else "")
        return RollbackState(digest, served)
    if before.cause or not failure:
        return before
    template = stored_template(before.served)
    if template is None or matches(wanted, template, "template"):
        return before  # there is nothing else to go back to
    return RollbackState(digest, before.served, failure[:MAX_CAUSE_LENGTH])


def is_rolled_out(deployment: Object) -> bool:
    """Return whether every replica is of the Deployment's revision and available, and at least one exists."""
    status, wanted = get(deployment, "status"), get_int(deployment, "spec", "replicas")
    counts = [get_int(status, name) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    is_observed = get_int(status, "observedGeneration") >= get_int(deployment, "metadata", "generation")
    return is_observed and wanted > 0 and counts == [wanted] * 3


def stored_template(served: str) -> dict[str, Any] | None:
    """Return a stored pod template; None when it cannot be read."""
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b85decode(served), MAX_TEMPLATE_BYTES)
        template = parse_json(raw)
    except (ValueError, binascii.Error, zlib.error, RecursionError):
        return None
    return template if get(template, "spec", "containers") else None


def _stored(template: Object) -> str:
    """Return a pod template as text; empty when it is too long to keep."""
    kept = copy.deepcopy(dict(template))
    kept["metadata"] = {key: value for key, value in get_map(kept, "metadata").items() if value is not None}
    raw = to_json(kept)
    text = base64.b85encode(zlib.compress(raw, 9)).decode()
    return text if len(raw) <= MAX_TEMPLATE_BYTES and len(text) <= MAX_STORED_BYTES else ""


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
