"""How a replica is asked, read off the pod itself: an old replica is asked for what it was told to serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.vllm.arguments import API_KEY, CONTAINER, PORT, unescaped
from vllm_operator.vllm.flags import read_flags


@dataclass(frozen=True)
class Probe:
    """Address and expectations of one replica.

    Attributes:
        pod: name of the pod.
        uid: its UID, which tells a new pod of the same name.
        url: base URL of the server in it.
        served_names: names that it must list.
        api_key: Secret and key of its API key.
        ready: Kubernetes calls it ready.
    """

    pod: str
    uid: str
    url: str
    served_names: tuple[str, ...]
    api_key: tuple[str, str] | None
    ready: bool


def probe_of(pod: Mapping[str, Any], default_names: tuple[str, ...]) -> Probe | None:
    """The probe of a pod; None while it has no address or no running container."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    address = status.get("podIP")
    if not address or not _is_running(status):
        return None
    container = _container(pod)
    host = f"[{address}]" if ":" in address else address
    return Probe(
        pod=metadata["name"],
        uid=metadata.get("uid", ""),
        url=f"http://{host}:{_port(container)}",
        served_names=_served_names(container) or default_names,
        api_key=_api_key(container),
        ready=_is_ready(status),
    )


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    return next((container for container in containers if container.get("name") == CONTAINER), containers[0])


def _is_running(status: Mapping[str, Any]) -> bool:
    states = [
        item.get("state") or {} for item in status.get("containerStatuses") or () if item.get("name") == CONTAINER
    ]
    return any("running" in state for state in states)


def _is_ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def _port(container: Mapping[str, Any]) -> int:
    named = [port.get("containerPort") for port in container.get("ports") or () if port.get("name") == "http"]
    return int(named[0]) if named and named[0] else PORT


def _served_names(container: Mapping[str, Any]) -> tuple[str, ...]:
    flags = read_flags([unescaped(str(argument)) for argument in container.get("args") or ()], ("--served-model-name",))
    return next((flag.values for flag in reversed(flags) if flag.name == "--served-model-name"), ())


def _api_key(container: Mapping[str, Any]) -> tuple[str, str] | None:
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if variable.get("name") == API_KEY and reference:
            return reference.get("name", ""), reference.get("key", "")
    return None
