from __future__ import annotations

import copy
from typing import Any

import yaml

from tests.unit.conversion.samples import DEPLOYMENT
from vllm_operator.conversion.deployment import convert_workload, vllm_container
from vllm_operator.conversion.documents import convert_documents


def converted(text: str = DEPLOYMENT) -> tuple[dict[str, Any], set[str]]:
    (one,) = convert_documents(list(yaml.safe_load_all(text)))
    assert one.server
    return one.server["spec"], {item.field for item in one.unconverted}


def test_a_deployment_with_its_neighbours() -> None:
    spec, lost = converted()
    assert spec["model"]["uri"] == "hf://mistralai/Mistral-7B-Instruct-v0.3"
    assert spec["engine"]["maxNumBatchedTokens"] == 1024
    assert spec["cache"] == {"existingClaim": "mistral-7b"}
    assert spec["rollout"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["service"] == {"type": "LoadBalancer", "port": 8080}
    assert spec["autoscaling"] == {"minReplicas": 2, "maxReplicas": 5, "targetRunningRequests": 20}
    assert spec["disruption"] == {"maxUnavailable": 2}
    assert spec["podTemplate"]["metadata"] == {"annotations": {"team": "a"}}
    assert {"Service", "Service ports", "HorizontalPodAutoscaler"} <= lost


def test_neighbours_of_others_do_not_count() -> None:
    text = DEPLOYMENT.replace("selector: {app: mistral}", "selector: {app: x}").replace(
        "scaleTargetRef: {name: mistral-7b}", "scaleTargetRef: {name: x}"
    )
    spec, _ = converted(text)
    assert "service" not in spec
    assert "autoscaling" not in spec


def test_stateful_sets_lose_their_names() -> None:
    _, lost = converted(DEPLOYMENT.replace("kind: Deployment", "kind: StatefulSet"))
    assert "kind" in lost


def test_other_workloads_are_left_out() -> None:
    web = {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"image": "nginx"}]}}}}
    assert convert_workload(web, []) is None


def test_an_image_of_vllm_that_starts_something_else_has_a_reason() -> None:
    container = {"name": "c", "image": "vllm/vllm-openai:v1", "command": ["python", "bench.py"]}
    pod = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    conversion = convert_workload(pod, [])
    assert conversion
    assert conversion.server is None
    assert "it does not start vLLM's API server: python bench.py" in conversion.unconverted[0].message


def test_a_picker_that_names_a_vllm_pool_is_no_vllm() -> None:
    picker = {"name": "epp", "image": "registry.example/epp:main", "args": ["--pool-name", "vllm-llama3"]}
    assert vllm_container({"containers": [picker]}) is None


def test_a_live_object_is_converted_as_its_manifest_was() -> None:
    """`kubectl get -o yaml` has the defaults of the API server, and annotations of kubectl and controllers."""
    bodies = list(yaml.safe_load_all(DEPLOYMENT))
    live = copy.deepcopy(bodies)
    for body in live:
        applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
        body["metadata"] |= {
            "uid": "u",
            "generation": 3,
            "annotations": body["metadata"].get("annotations", {}) | applied,
        }
    live[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    template = live[0]["spec"]["template"]
    template["metadata"].setdefault("annotations", {})["kubectl.kubernetes.io/restartedAt"] = "2026-01-01T00:00:00Z"
    template["spec"] |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "restartPolicy": "Always"}
    for container in template["spec"]["containers"]:
        container["imagePullPolicy"] = "IfNotPresent"
    [before], [after] = convert_documents(bodies), convert_documents(live)
    assert after.server == before.server
    assert after.unconverted == before.unconverted


def test_a_deployment_of_the_operator_is_left_to_its_server() -> None:
    body = yaml.safe_load(DEPLOYMENT.partition("---\n")[0])
    body["metadata"]["ownerReferences"] = [{"kind": "VLLMServer", "name": "mistral"}]
    conversion = convert_workload(body, [])
    assert conversion
    assert conversion.server is None
    assert conversion.unconverted[0].message == "it belongs to the VLLMServer mistral already"
