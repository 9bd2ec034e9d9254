"""Probe targets: the address of each replica and the answer that is expected of it, read from its pod.

The pod decides, not the spec: a replica of an older generation is expected to serve the names that it was started with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.names import CONTAINER
from vllm_operator.api.operations import CompletionMode
from vllm_operator.kube.key import Key
from vllm_operator.kube.ownership import POD_TEMPLATE_HASH
from vllm_operator.probing.service_quality import ServiceLimits
from vllm_operator.vllm.arguments import API_KEY, PORT, unescape_variables
from vllm_operator.vllm.flags import read_flags

ApiKey = Callable[[], str | None] | str | None


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One replica to probe.

    Attributes:
        key: the server that the replica belongs to.
        pod: name of the pod.
        uid: UID of the pod; another UID is another replica, whose probes start from nothing.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        served_names: names that `/v1/models` must list: those that this pod was started with.
        interval: seconds between two probes.
        synthetic_completion: when to request a synthetic completion.
        reported_stall: message of a stall that the status already reports, else empty. It counts until the engine has
            been tested by this process.
        ready: Kubernetes reports the pod as Ready.
        revision: hash of the pod template; empty when unknown.
        limits: limits of its requests, by which its revision is judged; None not to judge it.
        api_key: the key, or a function that returns it; never part of a repr.
    """

    key: Key
    pod: str
    uid: str
    base_url: str
    served_names: tuple[str, ...]
    interval: float
    synthetic_completion: CompletionMode = "Never"
    reported_stall: str = ""
    ready: bool = True
    revision: str = ""
    limits: ServiceLimits | None = None
    api_key: ApiKey = field(default=None, repr=False)

    @property
    def expectation(self) -> tuple[str, tuple[str, ...]]:
        """Address and expected names: when they change, a probe that is under way has a void answer."""
        return self.base_url, self.served_names

    def current_key(self) -> str | None:
        """Return the API key as it is now."""
        return self.api_key() if callable(self.api_key) else self.api_key


@dataclass(frozen=True)
class PodEndpoint:
    """The part of a probe target that the pod itself shows.

    Attributes:
        pod: name of the pod.
        uid: UID of the pod.
        base_url: URL of vLLM's API server in the pod, without a slash at the end.
        served_names: names that `/v1/models` must list.
        api_key: name of the Secret with the API key, and the key within it; None without an API key.
        ready: Kubernetes reports the pod as Ready.
        revision: hash of the pod template; empty without one.
    """

    pod: str
    uid: str
    base_url: str
    served_names: tuple[str, ...]
    api_key: tuple[str, str] | None
    ready: bool
    revision: str = ""


def pod_endpoint(pod: Mapping[str, Any], default_names: tuple[str, ...]) -> PodEndpoint | None:
    """Read the endpoint of a pod; None while the pod has no address or no running container.

    Args:
        pod: the live pod.
        default_names: served names of a pod whose arguments set none.
    """
    status, metadata = pod.get("status") or {}, pod["metadata"]
    address = status.get("podIP")
    if not address or not _is_running(status):
        return None
    container = _container(pod)
    host = f"[{address}]" if ":" in address else address
    return PodEndpoint(
        pod=metadata["name"],
        uid=metadata.get("uid", ""),
        base_url=f"http://{host}:{_port(container)}",
        served_names=_served_names(container) or default_names,
        api_key=_api_key(container),
        ready=_is_ready(status),
        revision=(metadata.get("labels") or {}).get(POD_TEMPLATE_HASH, ""),
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
    flags = read_flags(
        [unescape_variables(str(argument)) for argument in container.get("args") or ()], ("--served-model-name",)
    )
    return next((flag.values for flag in reversed(flags) if flag.name == "--served-model-name"), ())


def _api_key(container: Mapping[str, Any]) -> tuple[str, str] | None:
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if variable.get("name") == API_KEY and reference:
            return reference.get("name", ""), reference.get("key", "")
    return None
