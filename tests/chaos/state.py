"""Read the final state of a namespace, in a form in which two runs can be compared object by object."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tools.harness.kube import KIND, Kube, Object
from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.kube.kinds import CHILD_KINDS

COMPARED = (KIND, *CHILD_KINDS)
TIMES = frozenset({"lastTransitionTime", "since", "creationTimestamp", "time"})
ASSIGNED = frozenset({"uid", "resourceVersion", "generation", "observedGeneration", "clusterIP", "clusterIPs"})
CHANGING = frozenset({"deployment.kubernetes.io/revision", ANNOTATION_HASH})
"""The hash covers the UID of the owner."""


def objects(kube: Kube, namespace: str) -> list[Object]:
    """Every object of the compared kinds, whoever made it."""
    return [body for kind in COMPARED for body in kube.list(kind, namespace)]


def orphans(kube: Kube, namespace: str) -> list[str]:
    """Objects whose server is gone: the garbage collector has not come to them yet."""
    found = objects(kube, namespace)
    alive = {body["metadata"]["uid"] for body in found}
    return [
        f"{body['kind']} {body['metadata']['name']}"
        for body in found
        for owner in body["metadata"].get("ownerReferences") or ()
        if owner["uid"] not in alive
    ]


def end_state(kube: Kube, namespace: str) -> str:
    """All objects of the namespace as YAML, without what is different in every run."""
    found = objects(kube, namespace)
    names = {namespace: "NAMESPACE"}
    names |= {body["metadata"]["uid"]: f"uid of {body['kind']} {body['metadata']['name']}" for body in found}
    generated = [body["metadata"]["name"] for kind in ("Pod", "ReplicaSet") for body in kube.list(kind, namespace)]
    names |= dict.fromkeys(sorted(generated, key=len, reverse=True), "GENERATED")
    text = json.dumps([_comparable(body) for body in found])
    text = re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], text)
    # The token of the draining middleware is made from the UID of the server.
    return yaml.safe_dump(json.loads(re.sub(r'"[0-9a-f]{32}"', '"TOKEN"', text)))


def difference(expected: str, found: str) -> str:
    """The lines in which two states differ."""
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "undisturbed", "found", n=6, lineterm="")
    return "\n".join(lines)


def _comparable(body: Object) -> Any:
    result = _stripped(body)
    if body["kind"] != KIND:
        result.pop("status", None)
    entries = body["metadata"].get("managedFields") or ()
    own = [_stripped(entry) for entry in entries if str(entry.get("manager")).startswith("vllm-operator")]
    result["metadata"]["managedFields"] = sorted(own, key=lambda entry: json.dumps(entry, sort_keys=True))
    return result


def _stripped(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {name: below for name, below in value.items() if name not in TIMES | CHANGING}
        return {
            name: "ASSIGNED" if name in ASSIGNED and below and name != "uid" else _stripped(below)
            for name, below in kept.items()
        }
    if isinstance(value, list):
        return [_stripped(item) for item in value if not _is_of_the_autoscaler(item)]
    return value


def _is_of_the_autoscaler(item: Any) -> bool:
    """The condition that changes when the HorizontalPodAutoscaler computes for the first time, after 15 s."""
    return isinstance(item, Mapping) and item.get("type") == "AutoscalingActive"
