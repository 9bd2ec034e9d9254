"""Manifests that people need: each is rendered as its owner means it, or refused with a way that works."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.helpers.paths import REPOSITORY
from vllm_operator.offline.judgement import Judgement, judge
from vllm_operator.offline.manifest_file import read_documents
from vllm_operator.settings import is_ipv6_cluster

CASES = REPOSITORY / "tests" / "data" / "field_cases"


def judged(name: str, **spec: Any) -> Judgement:
    """Return the verdict about a case, with fields of its spec replaced."""
    body = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    body["spec"].update(spec)
    (document,) = read_documents(yaml.safe_dump(body))
    return judge(document)


def objects(name: str, **spec: Any) -> dict[str, Any]:
    """Return the children of a case by kind."""
    judgement = judged(name, **spec)
    assert judgement.problems == ()
    return {body["kind"]: body for body in judgement.objects}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """Return the spec of the pods of a case."""
    found: dict[str, Any] = objects(name, **spec)["Deployment"]["spec"]["template"]["spec"]
    return found


def volume(name: str, **spec: Any) -> dict[str, Any]:
    """Return the cache volume of a case."""
    (found,) = [item for item in pod(name, **spec)["volumes"] if item["name"] == "model-cache"]
    return dict(found)


def test_labels_by_which_a_prometheus_selects_arrive() -> None:
    children = objects("23-podmonitor-labels")

    assert children["PodMonitor"]["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert children["PrometheusRule"]["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert "release" not in children["Deployment"]["metadata"]["labels"]


def test_metadata_for_all_children_arrives_at_each() -> None:
    metadata = {"labels": {"model.aibrix.ai/name": "m"}, "annotations": {"lingo.substratus.ai/models": "m"}}
    plain, children = objects("24-deployment-annotations"), objects("24-deployment-annotations", metadata=metadata)

    assert {child["metadata"]["labels"]["model.aibrix.ai/name"] for child in children.values()} == {
        "m",
        "mistral-7b-instruct",
    }
    assert {child["metadata"]["annotations"]["lingo.substratus.ai/models"] for child in children.values()} == {"m"}
    assert children["Deployment"]["spec"] == plain["Deployment"]["spec"], "no pod restarts"


def test_details_of_the_service_arrive_and_selector_and_ports_stay() -> None:
    details = {
        "sessionAffinity": "None",
        "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
    }
    service = {"type": "LoadBalancer", "nodePort": 30080, "spec": details}
    found = objects("35-service", service=service)["Service"]["spec"]

    assert details.items() <= found.items()
    assert [(port["port"], port["nodePort"], port["targetPort"]) for port in found["ports"]] == [(80, 30080, "http")]
    assert found["selector"]["app.kubernetes.io/instance"] == "qwen-25-72b-instruct"


def test_details_beside_their_place_are_refused_by_name() -> None:
    assert {problem.field for problem in judged("35-service").problems} == {
        f"spec.service.{name}" for name in ("sessionAffinity", "externalTrafficPolicy", "loadBalancerSourceRanges")
    }


def test_another_source_replaces_that_of_the_cache() -> None:
    assert volume("07-hostpath-cache") == {
        "name": "model-cache",
        "hostPath": {"path": "/mnt/opea-models", "type": "Directory"},
    }


def test_typed_volume_is_the_cache() -> None:
    cache = {"volume": {"nfs": {"server": "nas", "path": "/models"}}}
    children = objects("07-hostpath-cache", cache=cache, podTemplate=None)

    assert volume("07-hostpath-cache", cache=cache, podTemplate=None) == {"name": "model-cache", **cache["volume"]}
    assert "PersistentVolumeClaim" not in children


def test_cache_of_each_replica_is_a_claim_of_its_pod() -> None:
    cache = {"size": "10Gi", "perReplica": True}
    children = objects("33-rwo-replicas", cache=cache)
    template = volume("33-rwo-replicas", cache=cache)["ephemeral"]["volumeClaimTemplate"]

    assert template["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    assert "PersistentVolumeClaim" not in children
    assert judged("33-rwo-replicas", cache={**cache, "accessModes": ["ReadWriteOnce"]}).accepted


def test_refusal_of_a_shared_claim_for_one_node_names_the_cache_of_each_replica() -> None:
    (problem,) = judged("33-rwo-replicas").problems

    assert problem.field == "spec.cache.accessModes"
    assert "cache.perReplica: true" in problem.message


def test_profile_of_openshift_leaves_the_user_ids_to_the_namespace() -> None:
    for name in ("06-openshift-uid", "06d-openshift-after-merge-patch"):
        context = pod(name, security={"profile": "openshift"})["securityContext"]
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_nulls_of_a_created_server_remove_the_user_ids() -> None:
    context = pod("06-openshift-uid")["securityContext"]

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)


def test_root_without_permission_is_refused_with_both_ways_out() -> None:
    (problem,) = judged("27b-root-only-uid").problems

    assert problem.field == "spec.security.podSecurityContext.runAsUser"
    assert "runAsNonRoot: false" in problem.message
    context = pod("27b-root-only-uid", security={"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": False}})
    assert context["securityContext"]["runAsUser"] == 0


def arguments(name: str, **spec: Any) -> list[str]:
    """Return the arguments of vLLM in a case."""
    found: list[str] = pod(name, **spec)["containers"][0]["args"]
    return found


def test_vllm_listens_on_ipv6_where_the_pods_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00:10:96::1")
    is_ipv6_cluster.cache_clear()
    try:
        assert "--host=::" in arguments("03b-ipv6-without-host")
        assert "--host ::" in " ".join(arguments("03-ipv6"))
        assert "--host=::" not in arguments("03b-ipv6-without-host", service={"spec": {"ipFamilies": ["IPv4"]}})
    finally:
        is_ipv6_cluster.cache_clear()


def test_vllm_keeps_its_default_on_ipv4() -> None:
    assert not any(argument.startswith("--host") for argument in arguments("03b-ipv6-without-host"))
    assert "--host=::" in arguments("03b-ipv6-without-host", service={"spec": {"ipFamilies": ["IPv6"]}})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "10.0.0.1"])
def test_host_that_probes_cannot_reach_is_refused_with_one_that_they_can(host: str) -> None:
    (problem,) = judged("03-ipv6", engine={"extraArgs": ["--host", host]}).problems

    assert "--host=::" in problem.message


def test_claim_that_would_block_the_second_replica_is_noted_before_it_exists() -> None:
    for replicas in (0, 1):
        assert any("cache.perReplica: true before" in note for note in judged("28-keda", replicas=replicas).notes)
    for cache in ({"size": "1Gi", "accessModes": ["ReadWriteMany"]}, {"size": "1Gi", "perReplica": True}):
        assert not any("ReadWriteOnce" in note for note in judged("28-keda", cache=cache).notes)


def test_cores_are_requested_as_cores_and_devices_are_noted() -> None:
    limits = pod("10-neuron")["containers"][0]["resources"]["limits"]
    noted = judged("10-neuron", accelerator={"resourceName": "aws.amazon.com/neuron"})

    assert limits["aws.amazon.com/neuroncore"] == 2
    assert any("set accelerator.count to the number of devices" in note for note in noted.notes)


def test_annotations_for_a_mesh_reach_the_pods() -> None:
    template = objects("37-istio")["Deployment"]["spec"]["template"]["metadata"]

    assert template["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] == "8000"
