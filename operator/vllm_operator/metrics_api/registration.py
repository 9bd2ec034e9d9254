"""Register the metrics API with the API server, unless another adapter serves it already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import LABEL_MANAGED_BY, MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get, get_condition, get_str
from vllm_operator.kube.kinds import API_SERVICE, CLUSTER_ROLE
from vllm_operator.kube.types import Object
from vllm_operator.metrics_api.documents import GROUP, VERSIONS
from vllm_operator.settings import metrics_role_name, metrics_secret_name
from vllm_operator.status.metrics_api_state import SERVED, STARTING, WAYS_OUT, MetricsApiState

SERVICE_PORT = 443
GROUP_PRIORITY = 100
"""Rank of the group among others of the same kind name: as prometheus-adapter registers it."""
VERSION_PRIORITIES = {"v1beta2": 200, "v1beta1": 100}
"""A client that may choose takes the version with the highest."""


@dataclass(frozen=True)
class MetricsService:
    """The Service in front of the operator's replicas; the ClusterRole that owns what is registered has its name.

    Attributes:
        namespace: namespace of the operator.
        name: name of the Service.
    """

    namespace: str
    name: str

    @property
    def host(self) -> str:
        """The DNS name under which the API server calls."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def secret(self) -> str:
        """Name of the Secret with the serving certificate."""
        return metrics_secret_name(self.name)

    @property
    def role(self) -> str:
        """Name of the ClusterRole that allows the registration."""
        return metrics_role_name(self.name)


def api_service(version: str, service: MetricsService, bundle: str, owner_uid: str) -> dict[str, Any]:
    """Return the APIService of a version.

    Args:
        version: such as `v1beta2`.
        service: where the API is served.
        bundle: `caBundle`, base64 of PEM.
        owner_uid: UID of the ClusterRole whose deletion unregisters the API; empty when it is not there.
    """
    owner = {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.name,
        "name": service.role,
        "uid": owner_uid,
    }
    return {
        "apiVersion": API_SERVICE.api_version,
        "kind": API_SERVICE.name,
        "metadata": {
            "name": f"{version}.{GROUP}",
            "namespace": "",
            "labels": {LABEL_MANAGED_BY: MANAGER},
            **({"ownerReferences": [owner]} if owner_uid else {}),
        },
        "spec": {
            "group": GROUP,
            "version": version,
            "groupPriorityMinimum": GROUP_PRIORITY,
            "versionPriority": VERSION_PRIORITIES[version],
            "service": {"namespace": service.namespace, "name": service.name, "port": SERVICE_PORT},
            "caBundle": bundle,
        },
    }


def other_adapter(live: Sequence[Object | None], service: MetricsService) -> MetricsApiState | None:
    """Return the state while another adapter has registered a version of the API; None when none has."""
    for body in live:
        if body is None:
            continue
        place = f"{get_str(body, 'spec', 'service', 'namespace')}/{get_str(body, 'spec', 'service', 'name')}"
        if place == f"{service.namespace}/{service.name}":
            continue
        name, available = get_str(body, "metadata", "name"), get_condition(body, "Available")
        if get_str(available, "status") == "False":
            reason = get_str(available, "reason")
            state = f"which does not answer ({reason}). If it is gone: kubectl delete apiservice {name}"
        else:
            state = (
                "so the operator registers none. Its rules must serve vllm_num_requests (docs: how-to/autoscale), or "
                f"{WAYS_OUT}"
            )
        return MetricsApiState("OtherMetricsAdapter", f"APIService {name} belongs to the Service {place}, {state}")
    return None


class Registration:
    """Keep the APIServices. Only the leader may.

    Args:
        client: the API client of the leader.
        service: where the API is served.
    """

    def __init__(self, client: ApiClient, service: MetricsService) -> None:
        self._client = client
        self._service = service

    async def sync(self, bundle: str) -> MetricsApiState:
        """Create or correct the APIServices, and return whether the API server uses them.

        Raises:
            ApiError: they could not be read or written.
        """
        live = [await self._client.get(API_SERVICE, "", f"{version}.{GROUP}") for version in VERSIONS]
        if (other := other_adapter(live, self._service)) is not None:
            return other
        owner = await self._owner_uid()
        for version, body in zip(VERSIONS, live, strict=True):
            await self._write(body, api_service(version, self._service, bundle, owner))
        return _availability(live)

    async def _owner_uid(self) -> str:
        role = await self._client.get(CLUSTER_ROLE, "", self._service.role)
        return get_str(role, "metadata", "uid")

    async def _write(self, live: Object | None, wanted: dict[str, Any]) -> None:
        if live is None:
            # A create fails where another adapter was faster; an apply would take its place.
            await self._client.create(API_SERVICE, "", wanted)
        elif not _is_current(live, wanted):
            await self._client.apply(API_SERVICE, wanted)


def _is_current(live: Object, wanted: Object) -> bool:
    owners = get(live, "metadata", "ownerReferences")
    is_owned = owners == wanted["metadata"].get("ownerReferences")
    return is_owned and all(get(live, "spec", name) == value for name, value in wanted["spec"].items())


def _availability(live: Sequence[Object | None]) -> MetricsApiState:
    conditions = [get_condition(body, "Available") for body in live]
    for condition in conditions:
        if get_str(condition, "status") == "False":
            return MetricsApiState(
                "MetricsAPIUnavailable",
                f"the API server does not reach the operator's metrics API ({get_str(condition, 'reason')}: "
                f"{get_str(condition, 'message')}): let the control plane connect to the port metrics-api of the "
                f"operator's pods, or {WAYS_OUT}",
            )
    return SERVED if all(get_str(condition, "status") == "True" for condition in conditions) else STARTING


def registration_failure(error: ApiError) -> MetricsApiState:
    """Return the state after a failure to read or write what the registration needs."""
    if error.status == 403:
        return MetricsApiState(
            "MetricsAPIForbidden",
            f"the operator may not register its metrics API ({error.message}): install the rights of the metrics API "
            f"(metricsAPI.enabled of the chart), or {WAYS_OUT}",
        )
    return MetricsApiState("MetricsAPIFailed", f"the metrics API could not be registered: {error}; it is tried again")
