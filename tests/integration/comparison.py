"""Comparison of the children of a server before a change and after it is taken back."""

from __future__ import annotations

import copy
import difflib
import re
from typing import Any

import yaml

from tests.integration.governed import CLAIM
from tools.harness.kube import Object, essence
from vllm_operator.api.names import ANNOTATION_HASH

ALLOCATED = frozenset(
    {"nodePort", "clusterIP", "clusterIPs", "volumeName", "healthCheckNodePort", "ipFamilyPolicy", "ipFamilies"}
)
"""Values that the API server or a controller chooses for every object, or keeps when nobody sets them any more."""


TOKEN = re.compile("[0-9a-f]{32}")
"""The token of the draining middleware, which is made from the UID of the server."""


def comparable(body: Object) -> Object:
    """Return a child without what the API server and controllers write."""
    result: Object = essence(body)
    if body["kind"] == CLAIM and not result["spec"].get("storageClassName"):
        # A claim without a class may be given the empty one, and cannot give that back: its manifest holds it too then.
        result["spec"].pop("storageClassName", None)
        (result["metadata"].get("annotations") or {}).pop(ANNOTATION_HASH, None)
    return result


def _stripped(value: Any) -> Any:
    """Return an object without the values chosen for every object, and without the binding of a claim."""
    if isinstance(value, dict):
        kept = {key: _stripped(item) for key, item in value.items() if key not in ALLOCATED}
        return {key: item for key, item in kept.items() if "pv.kubernetes.io/" not in key}
    if isinstance(value, str) and TOKEN.fullmatch(value):
        return "TOKEN"
    return [_stripped(item) for item in value] if isinstance(value, list) else value


def assert_same(before: dict[str, Object], after: dict[str, Object], otherwise: str) -> None:
    """Compare the children before and after, but for the values of `ALLOCATED`; `otherwise` begins the message."""
    before, after = _stripped(before), _stripped(after)
    if before == after:
        return
    texts = [yaml.safe_dump(copy.deepcopy(children)).splitlines() for children in (before, after)]
    lines = difflib.unified_diff(*texts, "before", "after", n=3, lineterm="")
    raise AssertionError(f"{otherwise}:\n" + "\n".join(lines))
