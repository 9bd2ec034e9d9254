"""Refuse a container that would run as root although `runAsNonRoot` is true: the kubelet never starts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vllm_operator.api.spec import Spec
from vllm_operator.errors import InvalidSpecError


def check_root_user(pod: Mapping[str, Any], spec: Spec) -> None:
    """Check the finished pod of a server; a container's own setting wins over that of the pod.

    Raises:
        InvalidSpecError: a container has runAsUser: 0 and runAsNonRoot: true.
    """
    shared = _map(pod.get("securityContext"))
    for name, own in _containers(pod):
        context = {**shared, **{key: value for key, value in own.items() if value is not None}}
        user = context.get("runAsUser")
        if user == 0 and not isinstance(user, bool) and context.get("runAsNonRoot") is True:
            raise InvalidSpecError(
                _field(spec),
                f"the container {name[:80]} has runAsUser: 0, which is root, and runAsNonRoot: true, so that the "
                "kubelet would never start it: set runAsNonRoot: false too, or a user ID above 0",
            )


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field in ("initContainers", "containers"):
        items = pod.get(field)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, Mapping):
                yield str(item.get("name")), _map(item.get("securityContext"))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _field(spec: Spec) -> str:
    """Return the field that asks for root."""
    contexts = {
        "containerSecurityContext": spec.security.container_security_context,
        "podSecurityContext": spec.security.pod_security_context,
    }
    chosen = [name for name, context in contexts.items() if context and context.get("runAsUser") == 0]
    return f"spec.security.{chosen[0]}.runAsUser" if chosen else "spec.podTemplate"
