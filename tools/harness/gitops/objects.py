"""Read objects of any kind by the full name of their resource."""

from __future__ import annotations

import json

from tools.harness.kube import Kube, Object


def find(kube: Kube, resource: str, name: str, namespace: str) -> Object:
    """Return an object; an empty one where it does not exist."""
    answer = kube.kubectl("-n", namespace, "get", resource, name, "--ignore-not-found", "-o", "json", check=False)
    found: Object = json.loads(answer.stdout) if answer.stdout.strip() else {}
    return found


def names(kube: Kube, resource: str, namespace: str) -> list[str]:
    """Return the objects of a namespace as `resource/name`; none where the resource does not exist."""
    answer = kube.kubectl("-n", namespace, "get", resource, "-o", "name", "--ignore-not-found", check=False)
    return answer.stdout.split() if answer.code == 0 else []


def condition(body: Object, kind: str) -> Object:
    """Return a condition of an object; an empty one where it has none."""
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})
