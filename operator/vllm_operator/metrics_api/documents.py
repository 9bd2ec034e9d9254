"""The documents of the API: discovery, OpenAPI, lists of values, and errors. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vllm_operator.api.names import API_VERSION, KIND, PLURAL
from vllm_operator.api.names import GROUP as SERVER_GROUP

GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
"""Served versions, the preferred one first."""

PODS = "pods"
SERVERS = f"{PLURAL}.{SERVER_GROUP}"
RUNNING = "vllm_num_requests_running"
WAITING = "vllm_num_requests_waiting"
REQUESTS = "vllm_num_requests"
KV_CACHE = "vllm_kv_cache_usage"
METRICS = (RUNNING, WAITING, REQUESTS, KV_CACHE)
"""Names of the metrics: running, waiting, the sum of both, and the used fraction of the KV cache."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of one object.

    Attributes:
        name: name of the object.
        namespace: its namespace.
        number: the value.
        time: seconds since the epoch at which it was read.
    """

    name: str
    namespace: str
    number: float
    time: float


def group_list() -> dict[str, Any]:
    """Return the answer to `/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]}


def api_group() -> dict[str, Any]:
    """Return the answer to `/apis/custom.metrics.k8s.io`."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group()}


def _group() -> dict[str, Any]:
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in VERSIONS]
    return {"name": GROUP, "versions": versions, "preferredVersion": versions[0]}


def resource_list(version: str) -> dict[str, Any]:
    """Return the answer to `/apis/custom.metrics.k8s.io/VERSION`: each metric of pods and of servers."""
    resources = [
        {
            "name": f"{resource}/{metric}",
            "singularName": "",
            "namespaced": True,
            "kind": "MetricValueList",
            "verbs": ["get"],
        }
        for resource in (PODS, SERVERS)
        for metric in METRICS
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{version}",
        "resources": resources,
    }


def openapi_v2() -> dict[str, Any]:
    """Return an OpenAPI document without paths: the API server merges it into its own and stops asking."""
    return {"swagger": "2.0", "info": {"title": "vllm-operator", "version": VERSIONS[0]}, "paths": {}}


def openapi_v3_root() -> dict[str, Any]:
    """Return the list of OpenAPI v3 documents: one for each version."""
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in openapi_v3_paths()}}


def openapi_v3_paths() -> tuple[str, ...]:
    """Return the paths of the OpenAPI v3 documents, below `/openapi/v3/`."""
    return tuple(f"apis/{GROUP}/{version}" for version in VERSIONS)


def openapi_v3() -> dict[str, Any]:
    """Return the OpenAPI v3 document of a version: one without paths."""
    return {"openapi": "3.0.0", "info": {"title": "vllm-operator", "version": VERSIONS[0]}, "paths": {}}


def value_list(version: str, resource: str, metric: str, values: Iterable[Value]) -> dict[str, Any]:
    """Return a MetricValueList in one of the two versions."""
    kind, api_version = ("Pod", "/v1") if resource == PODS else (KIND, API_VERSION)
    return {
        "kind": "MetricValueList",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {},
        "items": [
            {
                "describedObject": {
                    "kind": kind,
                    "namespace": value.namespace,
                    "name": value.name,
                    "apiVersion": api_version,
                },
                **_metric(version, metric),
                "timestamp": format_time(value.time),
                "value": format_quantity(value.number),
            }
            for value in values
        ],
    }


def _metric(version: str, name: str) -> dict[str, Any]:
    if version == "v1beta1":
        return {"metricName": name, "selector": None}
    return {"metric": {"name": name, "selector": None}}


def format_quantity(number: float) -> str:
    """Return a number as a quantity, in thousandths unless it is whole."""
    thousandths = round(number * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def format_time(seconds: float) -> str:
    """Return RFC 3339 with milliseconds, so that a value looks no older than it is."""
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def failure(code: int, reason: str, message: str) -> dict[str, Any]:
    """Return a Status that says why a request failed."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
