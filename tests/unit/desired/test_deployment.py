"""Environment variables, empty texts, volumes and security contexts of the pod."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, container, named, pod_template
from vllm_operator.desired.cache_volume import CACHE_ENV
from vllm_operator.desired.deployment import CONNECTION_ENV
from vllm_operator.probing.connections import KEEP_ALIVE_SECONDS

SECRET = {"secretKeyRef": {"name": "keys", "key": "other"}}


def env(**fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = container(**fields)["env"]
    return found


def test_caches_are_pointed_at_the_volume() -> None:
    assert (CACHE_ENV | CONNECTION_ENV).items() <= {item["name"]: item["value"] for item in env()}.items()


def test_vllm_keeps_connections_for_longer_than_the_prober() -> None:
    assert float(CONNECTION_ENV["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]) > KEEP_ALIVE_SECONDS


def test_secrets_are_passed_by_reference() -> None:
    found = env(model={**MODEL, "tokenSecretRef": {"name": "hf"}}, security={"apiKeySecretRef": {"name": "keys"}})

    assert named(found, "HF_TOKEN")["valueFrom"] == {"secretKeyRef": {"name": "hf", "key": "token"}}
    assert named(found, "VLLM_API_KEY")["valueFrom"] == {"secretKeyRef": {"name": "keys", "key": "token"}}


def test_variable_of_the_spec_replaces_the_operators() -> None:
    found = env(engine={"env": [{"name": "HF_HOME", "value": "/elsewhere"}]})

    assert [item for item in found if item["name"] == "HF_HOME"] == [{"name": "HF_HOME", "value": "/elsewhere"}]


def test_reference_of_the_spec_replaces_the_token() -> None:
    fields = {
        "model": {**MODEL, "tokenSecretRef": {"name": "hf"}},
        "engine": {"env": [{"name": "HF_TOKEN", "valueFrom": SECRET}]},
    }

    assert named(env(**fields), "HF_TOKEN") == {"name": "HF_TOKEN", "valueFrom": SECRET}


def test_variables_of_the_spec_keep_their_order() -> None:
    """`$(NAME)` refers to a variable that comes before, also to one that replaces the operator's."""
    own = [{"name": "BASE", "value": "/data"}, {"name": "HOME", "value": "$(BASE)/home"}]

    assert env(engine={"env": own})[-2:] == own


def test_empty_variable_is_kept() -> None:
    assert {"name": "A", "value": ""} in env(engine={"env": [{"name": "A", "value": ""}]})


@pytest.mark.parametrize("field", ["priorityClassName", "runtimeClassName", "schedulerName"])
def test_empty_name_is_no_name(field: str) -> None:
    """The API server would refuse it, or add a default that then looks like drift."""
    assert field not in pod_template(scheduling={field: ""})["spec"]


def test_shared_memory_is_always_there() -> None:
    volume = named(pod_template(sharedMemory="2Gi")["spec"]["volumes"], "shm")

    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in container()["volumeMounts"]


def test_model_on_a_claim_is_mounted_to_read() -> None:
    fields = {"model": {"uri": "pvc://models/mistral/7b"}}

    assert container(**fields)["args"][:4] == ["--model", "/model/mistral/7b", "--served-model-name", "7b"]
    assert {"name": "model", "mountPath": "/model", "readOnly": True} in container(**fields)["volumeMounts"]
    volume = named(pod_template(**fields)["spec"]["volumes"], "model")
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


def test_pod_is_restricted_by_default() -> None:
    context = pod_template()["spec"]["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] != 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_security_context_is_merged_and_null_removes() -> None:
    fields = {
        "security": {
            "podSecurityContext": {"runAsUser": 2000, "fsGroup": None, "seccompProfile": {"type": "Unconfined"}}
        }
    }
    context = pod_template(**fields)["spec"]["securityContext"]

    assert context["runAsUser"] == 2000
    assert "fsGroup" not in context
    assert context["seccompProfile"] == {"type": "Unconfined"}
    assert context["runAsNonRoot"] is True


def test_replicas_spread_over_nodes_within_a_revision() -> None:
    (constraint,) = pod_template()["spec"]["topologySpreadConstraints"]

    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_empty_list_of_constraints_spreads_nothing() -> None:
    assert "topologySpreadConstraints" not in pod_template(scheduling={"topologySpreadConstraints": []})["spec"]


def test_constraint_without_selector_gets_that_of_the_server() -> None:
    rule = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    (constraint,) = pod_template(scheduling={"topologySpreadConstraints": [rule]})["spec"]["topologySpreadConstraints"]

    assert constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "mistral"
