"""Register the API, step aside for another adapter, and report what the API server says."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.helpers.fakes import FakeApiClient
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.metrics_api.registration import MetricsService, Registration, api_service, registration_failure

SERVICE = MetricsService("vllm-operator-system", "vllm-operator")
NAMES = ("v1beta2.custom.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io")


@pytest.fixture
def api() -> FakeApiClient:
    client = FakeApiClient()
    client.hold({"kind": "ClusterRole", "metadata": {"name": "vllm-operator-metrics-api", "uid": "role"}})
    return client


@pytest.fixture
def registration(api: FakeApiClient) -> Registration:
    return Registration(cast("ApiClient", api), SERVICE)


def set_available(api: FakeApiClient, status: str, reason: str = "") -> None:
    for name in NAMES:
        condition = {"type": "Available", "status": status, "reason": reason, "message": "why"}
        api.objects["APIService", name]["status"] = {"conditions": [condition]}


async def test_both_versions_are_registered_and_belong_to_the_role(
    api: FakeApiClient, registration: Registration
) -> None:
    state = await registration.sync("Q0E=")

    assert state.reason == "MetricsAPIStarting"
    for name in NAMES:
        body = api.objects["APIService", name]
        assert body["spec"]["caBundle"] == "Q0E="
        assert body["metadata"]["ownerReferences"][0]["uid"] == "role"


async def test_served_api_is_left_alone(api: FakeApiClient, registration: Registration) -> None:
    await registration.sync("Q0E=")
    set_available(api, "True")
    api.requests.clear()

    assert (await registration.sync("Q0E=")).is_served
    assert api.writes == []


async def test_new_authority_is_written(api: FakeApiClient, registration: Registration) -> None:
    await registration.sync("Q0E=")
    await registration.sync("bmV3")

    assert {api.objects["APIService", name]["spec"]["caBundle"] for name in NAMES} == {"bmV3"}


async def test_unreachable_operator_is_reported(api: FakeApiClient, registration: Registration) -> None:
    await registration.sync("Q0E=")
    set_available(api, "False", "FailedDiscoveryCheck")

    state = await registration.sync("Q0E=")

    assert state.reason == "MetricsAPIUnavailable"
    assert "FailedDiscoveryCheck: why" in state.message
    assert "autoscaling.source" in state.message


def foreign(api: FakeApiClient, **status: Any) -> None:
    body = api_service("v1beta1", MetricsService("monitoring", "prometheus-adapter"), "", "")
    api.hold({**body, "status": status})


async def test_another_adapter_keeps_its_place(api: FakeApiClient, registration: Registration) -> None:
    foreign(api)

    state = await registration.sync("Q0E=")

    assert state.reason == "OtherMetricsAdapter"
    assert "monitoring/prometheus-adapter" in state.message
    assert "vllm_num_requests" in state.message
    assert api.writes == []


async def test_another_adapter_that_is_gone_is_named_with_the_remedy(
    api: FakeApiClient, registration: Registration
) -> None:
    foreign(api, conditions=[{"type": "Available", "status": "False", "reason": "ServiceNotFound"}])

    state = await registration.sync("Q0E=")

    assert "ServiceNotFound" in state.message
    assert "kubectl delete apiservice v1beta1.custom.metrics.k8s.io" in state.message


async def test_missing_role_leaves_no_owner(api: FakeApiClient, registration: Registration) -> None:
    api.objects.clear()

    await registration.sync("Q0E=")

    assert "ownerReferences" not in api.objects["APIService", NAMES[0]]["metadata"]


def test_missing_right_is_named_with_the_ways_out() -> None:
    state = registration_failure(ApiError(403, "Forbidden", "cannot create apiservices"))

    assert state.reason == "MetricsAPIForbidden"
    assert "metricsAPI.enabled" in state.message


def test_other_failures_are_tried_again() -> None:
    assert "tried again" in registration_failure(ApiError(500, "InternalError", "etcd")).message
