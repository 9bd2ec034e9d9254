"""The documents, in the shapes of `k8s.io/metrics/pkg/apis/custom_metrics`."""

from __future__ import annotations

import pytest

from vllm_operator.metrics_api import documents
from vllm_operator.metrics_api.documents import Value

VALUE = Value("mistral-1", "llm", 12.0, 1_800_000_000.25)


def test_discovery_lists_both_versions_and_prefers_the_newer() -> None:
    (group,) = documents.group_list()["groups"]

    assert [one["version"] for one in group["versions"]] == ["v1beta2", "v1beta1"]
    assert group["preferredVersion"]["groupVersion"] == "custom.metrics.k8s.io/v1beta2"
    assert documents.api_group()["name"] == "custom.metrics.k8s.io"


def test_resources_are_each_metric_of_pods_and_servers() -> None:
    resources = {entry["name"] for entry in documents.resource_list("v1beta2")["resources"]}

    assert "pods/vllm_num_requests" in resources
    assert "vllmservers.vllm-operator.dev/vllm_kv_cache_usage" in resources
    assert len(resources) == 2 * len(documents.METRICS)


def test_openapi_documents_name_each_other() -> None:
    assert set(documents.openapi_v3_root()["paths"]) == set(documents.openapi_v3_paths())
    assert documents.openapi_v2()["paths"] == documents.openapi_v3()["paths"] == {}


def test_values_of_both_versions() -> None:
    (newer,) = documents.value_list("v1beta2", "pods", "vllm_num_requests", [VALUE])["items"]
    (older,) = documents.value_list("v1beta1", documents.SERVERS, "vllm_num_requests", [VALUE])["items"]

    assert newer["describedObject"] == {"kind": "Pod", "namespace": "llm", "name": "mistral-1", "apiVersion": "/v1"}
    assert newer["metric"]["name"] == older["metricName"] == "vllm_num_requests"
    assert older["describedObject"]["kind"] == "VLLMServer"
    assert (newer["value"], newer["timestamp"]) == ("12", "2027-01-15T08:00:00.250Z")


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (3.0, "3"), (0.4694, "469m"), (2.5, "2500m"), (1e6, "1000000")])
def test_quantities(number: float, text: str) -> None:
    assert documents.format_quantity(number) == text


def test_failure_is_a_status() -> None:
    assert documents.failure(404, "NotFound", "gone")["code"] == 404
