from __future__ import annotations

import subprocess

import pytest

from tests.helpers.cloud_schemas import aws_errors
from tests.helpers.target_files import H100, HARD, lost, object_of, render, text_of
from vllm_operator.targets.target import TargetError

CALLS = {
    "model.json": ("sagemaker", "CreateModel"),
    "endpoint-config.json": ("sagemaker", "CreateEndpointConfig"),
    "endpoint.json": ("sagemaker", "CreateEndpoint"),
    "scalable-target.json": ("application-autoscaling", "RegisterScalableTarget"),
    "scaling-policy.json": ("application-autoscaling", "PutScalingPolicy"),
}
GPU = {"accelerator": {"product": "NVIDIA-L4"}}
CASES = {
    "gpu": GPU,
    "cpu": HARD["cpu"],
    "scaled": {**GPU, "autoscaling": {"minReplicas": 2, "maxReplicas": 6, "targetRunningRequests": 80}},
    "quotes": {**GPU, **HARD["quotes"]},
    "secrets": {**GPU, **HARD["secrets"]},
    "eight": {"accelerator": {"product": H100}, "engine": {"tensorParallelSize": 8}},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_awss_own_models_accept_every_call(fields: dict) -> None:
    result = render("sagemaker", **fields)
    for file in result.files:
        if file.path in CALLS:
            assert aws_errors(*CALLS[file.path], object_of(result, file.path)) == []


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_the_script_is_valid_for_the_shell(fields: dict) -> None:
    script = text_of(render("sagemaker", **fields), "create-endpoint.sh")
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0


def test_arguments_become_variables_of_awss_image() -> None:
    engine = {"maxModelLen": 8192, "enablePrefixCaching": False, "enforceEager": True, "extraArgs": ["--seed=7"]}
    env = object_of(render("sagemaker", **GPU, engine=engine), "model.json")["PrimaryContainer"]["Environment"]
    assert {
        "SM_VLLM_MODEL": "mistralai/Mistral-7B-Instruct-v0.3",
        "SM_VLLM_MAX_MODEL_LEN": "8192",
        "SM_VLLM_NO_ENABLE_PREFIX_CACHING": "true",
        "SM_VLLM_ENFORCE_EAGER": "true",
        "SM_VLLM_SEED": "7",
    }.items() <= env.items()
    assert "SM_VLLM_SHUTDOWN_TIMEOUT" not in env


def test_autoscaling_follows_requests_at_once() -> None:
    result = render("sagemaker", **CASES["scaled"])
    policy = object_of(result, "scaling-policy.json")["TargetTrackingScalingPolicyConfiguration"]
    assert policy["TargetValue"] == 80
    assert object_of(result, "scalable-target.json")["MaxCapacity"] == 6
    assert "not on vLLM's running requests" in lost(result)["spec.autoscaling"]


def test_an_image_outside_ecr_is_replaced_and_said() -> None:
    assert "spec.image" in lost(render("sagemaker", **GPU))
    own = "111122223333.dkr.ecr.us-east-1.amazonaws.com/vllm:v0.32.0"
    result = render("sagemaker", **GPU, image=own)
    assert object_of(result, "model.json")["PrimaryContainer"]["Image"] == own
    assert "spec.image" not in lost(result)


def test_a_claim_needs_files_in_s3() -> None:
    with pytest.raises(TargetError, match="--set model-s3"):
        render("sagemaker", **GPU, model={"uri": "pvc://models/llama/8b"})
    result = render("sagemaker", **GPU, model={"uri": "pvc://models/llama/8b"}, settings={"model-s3": "s3://b/llama/"})
    container = object_of(result, "model.json")["PrimaryContainer"]
    assert container["ModelDataSource"]["S3DataSource"]["S3Uri"] == "s3://b/llama/"
    assert container["Environment"]["SM_VLLM_MODEL"] == "/opt/ml/model/llama/8b"
    assert aws_errors("sagemaker", "CreateModel", object_of(result, "model.json")) == []


def test_a_token_is_taken_from_the_environment_only() -> None:
    result = render("sagemaker", **CASES["secrets"])
    assert "HF_TOKEN" not in text_of(result, "model.json")
    assert "${HF_TOKEN:?" in text_of(result, "create-endpoint.sh")


def test_long_values_are_refused() -> None:
    with pytest.raises(TargetError, match="SM_VLLM_CHAT_TEMPLATE has 2000 characters: SageMaker takes 1024"):
        render("sagemaker", **GPU, engine={"chatTemplate": "x" * 2000})
