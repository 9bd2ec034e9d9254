"""The CustomResourceDefinition as users see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.servers import Servers, manifest
from tools.harness.kube import Answer, Kube
from vllm_operator.api.crd import crd

REPOSITORY = Path(__file__).resolve().parents[2]


def test_crd_is_accepted_without_warnings(crd_applied: Answer) -> None:
    assert crd_applied.stderr == ""
    assert "serverside-applied" in crd_applied.stdout


def test_shipped_crd_file_is_the_generated_one() -> None:
    assert yaml.safe_load((REPOSITORY / "crds" / "vllmserver.yaml").read_text()) == crd()


def test_api_server_finds_no_fault_in_the_schema(kube: Kube) -> None:
    definition = kube.must_get("CustomResourceDefinition", "vllmservers.vllm-operator.dev")
    faults = [entry for entry in definition["status"]["conditions"] if entry["type"] == "NonStructuralSchema"]
    established = [entry["status"] for entry in definition["status"]["conditions"] if entry["type"] == "Established"]
    assert faults == []
    assert established == ["True"]


@pytest.fixture(scope="module")
def explain(kube: Kube) -> Callable[..., str]:
    """`kubectl explain`, once the API server has published the new kind's documentation."""
    kube.eventually(lambda: kube.kubectl("explain", "vllmserver", check=False).code == 0, within=30)
    return lambda *arguments: kube.kubectl("explain", *arguments).stdout


def test_kubectl_explain_lists_every_engine_field(explain: Callable[..., str]) -> None:
    text = explain("vllmserver.spec.engine", "--recursive")
    properties = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    missing = [name for name in properties["engine"]["properties"] if f"{name}\t" not in text]
    assert missing == []


@pytest.mark.parametrize("path", ["spec", "spec.engine", "spec.cache", "spec.autoscaling", "spec.rollout", "status"])
def test_kubectl_explain_describes_a_field(explain: Callable[..., str], path: str) -> None:
    description = explain(f"vllmserver.{path}").partition("DESCRIPTION:")[2].partition("FIELDS:")[0].strip()
    assert len(description.split()) > 2


@pytest.mark.parametrize("name", ["vllm", "vllmserver", "vllmservers", "vllmservers.vllm-operator.dev"])
def test_every_name_of_the_kind_is_understood(kube: Kube, namespace: str, name: str) -> None:
    kube.create(manifest("short", {}), namespace)
    assert kube.kubectl("-n", namespace, "get", name, "-o", "name").stdout == "vllmserver.vllm-operator.dev/short\n"


def test_get_all_shows_servers(kube: Kube, namespace: str) -> None:
    kube.create(manifest("among-all", {}), namespace)
    assert "vllmserver.vllm-operator.dev/among-all" in kube.kubectl("-n", namespace, "get", "all").stdout


def columns(text: str) -> list[str]:
    return text.splitlines()[0].split()


def test_printer_columns_are_the_documented_ones(kube: Kube, namespace: str) -> None:
    kube.create(manifest("printed", {}), namespace)
    narrow = kube.kubectl("-n", namespace, "get", "vllmservers").stdout
    wide = kube.kubectl("-n", namespace, "get", "vllmservers", "-o", "wide").stdout
    assert columns(narrow) == ["NAME", "MODEL", "READY", "PHASE", "VERSION", "AGE", "MESSAGE"]
    assert set(columns(wide)) == {*columns(narrow), "ENDPOINT", "GPUS", "IMAGE", "MIN", "MAX", "BOUNDS", "NEXT"}
    assert "hf://tiny-org/tiny" in narrow


def test_printed_row_shows_ready_and_phase(servers: Servers) -> None:
    servers.create("row", {"replicas": 3})
    row = servers.kube.kubectl("-n", servers.namespace, "get", "vllm", "row", "--no-headers").stdout.split()
    assert row[2] == "0/3"
    assert row[3] in {"Pending", "Scheduling"}


def test_stored_object_contains_the_defaults(kube: Kube, namespace: str) -> None:
    spec: dict[str, Any] = kube.create(manifest("defaults", {}), namespace)["spec"]
    assert spec["image"] == "vllm/vllm-openai:v0.32.0"
    assert spec["replicas"] == 1
    assert spec["rollout"] == {
        "maxSurge": 0,
        "maxUnavailable": 1,
        "drainTimeoutSeconds": 120,
        "waitForIdle": False,
        "waitForIdleSeconds": 600,
        "autoRollback": False,
    }
    assert spec["monitoring"]["alerts"]["kvCacheUsage"] == 0.95
    assert spec["engine"] == {}, "unset engine fields are vLLM's own"
