from __future__ import annotations

from typing import Any

from vllm_operator.conversion.pod import convert_pod
from vllm_operator.conversion.result import Draft


def convert(pod: dict[str, Any] | None = None, **container: Any) -> Draft:
    draft = Draft()
    one = {"name": "c", "image": "vllm/vllm-openai:v0.30.0", "args": ["--model", "org/m"], **container}
    convert_pod({"containers": [one], **(pod or {})}, one, draft)
    return draft


def fields(draft: Draft) -> set[str]:
    return {item.field for item in draft.lost}


def test_names_of_clients_stay() -> None:
    draft = convert()
    assert draft.get("model") == {"servedNames": ["org/m"], "uri": "hf://org/m"}


def test_a_command_stays_only_where_the_image_does_not_start_vllm() -> None:
    assert convert(command=["vllm", "serve"], args=["a"]).get("engine.command") is None
    assert convert(image="registry.example/own:1", command=["vllm", "serve"], args=["a"]).get("engine.command") == [
        "vllm",
        "serve",
    ]


def test_secrets_become_references_and_plain_ones_are_not_copied() -> None:
    env = [
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "t"}}},
        {"name": "VLLM_API_KEY", "value": "sk-1"},
        {"name": "N", "value": 1},
        {"name": "HF_HOME", "value": "/x"},
    ]
    draft = convert(env=env)
    assert draft.get("model.tokenSecretRef") == {"name": "hf", "key": "t"}
    assert draft.get("engine.env") == [{"name": "N", "value": "1"}]
    assert "variable VLLM_API_KEY" in fields(draft)
    assert "sk-1" not in str(draft)


def test_times_of_probes_and_grace() -> None:
    probe = {"initialDelaySeconds": 30, "periodSeconds": 10, "failureThreshold": 60}
    assert convert(startupProbe=probe).get("health.startupTimeoutSeconds") == 630
    assert convert(readinessProbe={"initialDelaySeconds": 900}).get("health.startupTimeoutSeconds") == 900
    assert convert(readinessProbe={"initialDelaySeconds": 5}).get("health") is None
    assert convert({"terminationGracePeriodSeconds": 78}).get("rollout.drainTimeoutSeconds") == 60


def test_placement() -> None:
    selector = {"nvidia.com/gpu.product": "NVIDIA-L4", "pool": "a"}
    draft = convert({"nodeSelector": selector, "priorityClassName": "p"}, resources={"limits": {"nvidia.com/gpu": 1}})
    assert draft.get("accelerator") == {"product": "NVIDIA-L4"}
    assert draft.get("scheduling") == {"nodeSelector": {"pool": "a"}, "priorityClassName": "p"}


def test_rights_are_carried_over_or_named() -> None:
    assert "securityContext" in fields(convert())
    draft = convert({"securityContext": {"runAsUser": 0, "runAsNonRoot": False}})
    assert draft.get("security.podSecurityContext") == {"runAsUser": 0, "runAsNonRoot": False}
    assert "securityContext" not in fields(draft)


def test_other_parts_of_the_pod_go_to_the_pod_template() -> None:
    side = {"name": "side", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    own = {
        "name": "c",
        "image": "vllm/vllm-openai:v0.30.0",
        "args": ["--model=m"],
        "envFrom": [{"secretRef": {"name": "s"}}],
    }
    pod = {"containers": [own, side], "volumes": [{"name": "v", "emptyDir": {}}], "serviceAccountName": "sa"}
    draft = Draft()
    convert_pod(pod, own, draft)
    template = draft.get("podTemplate.spec")
    assert template["serviceAccountName"] == "sa"
    assert [item["name"] for item in template["containers"]] == ["vllm", "side"]
    assert template["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert "podTemplate" in fields(draft)


def test_fields_without_a_place_are_named() -> None:
    draft = convert({"shareProcessNamespace": True}, securityProfile="x")
    assert {"pod.shareProcessNamespace", "container.securityProfile"} <= fields(draft)


def test_a_model_on_a_mounted_claim() -> None:
    pod = {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}
    draft = convert(pod, args=["--model=/mnt/llama"], volumeMounts=[{"name": "m", "mountPath": "/mnt"}])
    assert draft.get("model") == {"servedNames": ["/mnt/llama"], "uri": "pvc://models/llama"}
    assert draft.get("podTemplate") is None


def test_a_pod_without_a_model_says_so() -> None:
    assert "model" in fields(convert(args=[]))
