"""Checks that the CRD cannot express: each problem names the field and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, spec
from vllm_operator.validation.checks import spec_problems, spec_warnings
from vllm_operator.vllm.arguments import OPERATOR_FLAGS


def extra(*arguments: str, **engine: Any) -> dict[str, Any]:
    return {"engine": {"extraArgs": list(arguments), **engine}}


def env(*variables: dict[str, Any]) -> dict[str, Any]:
    return {"engine": {"env": list(variables)}}


SECRET = {"secretKeyRef": {"name": "keys", "key": "token"}}
ROWS: list[tuple[str, dict[str, Any], str, str, str]] = [
    (
        "flag and value in one item",
        extra("--max-model-len 8192"),
        *("InvalidArgument", "spec.engine.extraArgs[0]", '"--max-model-len=8192"'),
    ),
    ("short option and value in one item", extra("-tp 2"), "InvalidArgument", "spec.engine.extraArgs[0]", '"-tp=2"'),
    (
        "a field and its flag",
        extra("--seed=1", "--max-model-len=1", maxModelLen=1),
        *("DuplicateArgument", "spec.engine.extraArgs[1]", "spec.engine.maxModelLen: remove one"),
    ),
    (
        "a field and its flag with underscores",
        extra("--max_model_len=1", maxModelLen=1),
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.engine.maxModelLen"),
    ),
    (
        "a field and a prefix of its flag",
        extra("--max-model=1", maxModelLen=1),
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.engine.maxModelLen"),
    ),
    (
        "a field and its short option",
        extra("-tp=2", tensorParallelSize=2),
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.engine.tensorParallelSize"),
    ),
    (
        "a switch set to false and its negation",
        extra("--no-enforce-eager", enforceEager=False),
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.engine.enforceEager"),
    ),
    (
        "an object and a key of it",
        extra("--speculative-config.method=ngram", speculativeConfig={"num_speculative_tokens": 3}),
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.engine.speculativeConfig"),
    ),
    (
        "served names twice",
        {"model": {**MODEL, "servedNames": ["a"]}, **extra("--served-model-name=b")},
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.model.servedNames"),
    ),
    (
        "the revision twice",
        {"model": {**MODEL, "revision": "a"}, **extra("--revision", "b")},
        *("DuplicateArgument", "spec.engine.extraArgs[0]", "spec.model.revision"),
    ),
    (
        "a name with a dash among several",
        {"model": {**MODEL, "servedNames": ["a", "-b"]}},
        *("InvalidArgument", "spec.model.servedNames[1]", "rename it"),
    ),
    (
        "a product without an accelerator",
        {"accelerator": {"resourceName": "", "product": "NVIDIA-L4"}},
        *("InvalidAccelerator", "spec.accelerator.product", "scheduling.nodeSelector"),
    ),
    (
        "a target at the bound of the flag",
        {**extra("--max-num-seqs=50"), "autoscaling": {"maxReplicas": 2}},
        *("UnreachableTarget", "spec.autoscaling.targetRunningRequests", "must be below --max-num-seqs (50)"),
    ),
    (
        "a number that is none",
        extra("--max-num-seqs=many"),
        *("InvalidSpec", "spec.engine.extraArgs[0]", "whole number above 0"),
    ),
    (
        "a variable with two sources",
        env({"name": "A", "value": "1", "valueFrom": SECRET}),
        *("InvalidEnvironment", "spec.engine.env[A]", "remove one of the two"),
    ),
    (
        "the API key in the manifest",
        env({"name": "VLLM_API_KEY", "value": "hunter2"}),
        *("InvalidEnvironment", "spec.engine.env[VLLM_API_KEY]", "spec.security.apiKeySecretRef"),
    ),
    (
        "a surge with a cache for one",
        {"cache": {"size": "1Gi", "accessModes": ["ReadWriteOnce"]}, "rollout": {"maxSurge": 1}},
        *("CacheNotShareable", "spec.rollout.maxSurge", "set rollout.maxSurge: 0 (and maxUnavailable: 1)"),
    ),
]


@pytest.mark.parametrize(
    ("fields", "reason", "field", "way_out"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_refused(fields: dict[str, Any], reason: str, field: str, way_out: str) -> None:
    found = spec_problems(spec(**fields))

    assert [problem.reason for problem in found] == [reason]
    assert found[0].message.startswith(f"{field}: ")
    assert way_out in found[0].message


@pytest.mark.parametrize("flag", OPERATOR_FLAGS)
@pytest.mark.parametrize("form", ["{}", "{}=x"])
def test_flags_that_the_operator_owns_are_refused_with_another_way(flag: str, form: str) -> None:
    (problem,) = spec_problems(spec(**extra(form.format(flag), "x")))

    assert problem.message == f"spec.engine.extraArgs[0]: {flag} is not allowed here: {OPERATOR_FLAGS[flag]}"


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("the smallest manifest", {}),
    ("plain arguments in both forms", extra("--max-model-len", "8192", "--max-num-seqs=256", "--enforce-eager")),
    ("JSON with spaces", extra("--limit-mm-per-prompt", '{"image": 2}', '--hf-overrides={"a": 1}')),
    ("a flag bound to a text with spaces", extra("--chat-template={{ a }} b")),
    (
        "flags whose names begin like owned ones",
        extra("--model-impl=auto", "--hf-config-path=x", "--api-server-count", "1"),
    ),
    ("data-parallel flags with the size", extra("--data-parallel-size-local=2", dataParallelSize=2)),
    ("a repeated flag, whose last value counts", extra("--seed=1", "--seed=2")),
    ("a negative number", extra("--max-logprobs", "-1")),
    ("a name with a dash alone", {"model": {**MODEL, "servedNames": ["-a"]}}),
    ("an empty text with its flag", extra("--chat-template=/x", chatTemplate="")),
    ("a target below the bound", {**extra("--max-num-seqs=51"), "autoscaling": {"maxReplicas": 2}}),
    ("a bound without autoscaling", extra("--max-num-seqs=1")),
    ("a variable of ours", env({"name": "HF_HOME", "value": "/elsewhere"})),
    ("an empty value with a source", env({"name": "A", "value": "", "valueFrom": SECRET})),
    ("the API key from a Secret", env({"name": "VLLM_API_KEY", "valueFrom": SECRET})),
]


@pytest.mark.parametrize("fields", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(fields: dict[str, Any]) -> None:
    assert spec_problems(spec(**fields)) == ()


def test_all_problems_are_reported_at_once() -> None:
    found = spec_problems(spec(**extra("--port=1", "--max-model-len 1", "--dtype=auto", dtype="auto")))

    assert [problem.message.partition(":")[0] for problem in found] == [
        "spec.engine.extraArgs[1]",
        "spec.engine.extraArgs[2]",
        "spec.engine.extraArgs[0]",
    ]


def test_long_arguments_are_cut_in_messages() -> None:
    (problem,) = spec_problems(spec(**extra("--x " + "y" * 5000)))

    assert len(problem.message) < 400


def test_secrets_in_arguments_are_not_repeated() -> None:
    (problem,) = spec_problems(spec(**extra("--api-key=hunter2")))

    assert "hunter2" not in problem.message


@pytest.mark.parametrize("image", ["vllm/vllm-openai:latest", "vllm/vllm-openai:nightly", f"vllm@sha256:{'a' * 64}"])
def test_image_without_version_is_noted(image: str) -> None:
    (note,) = spec_warnings(spec(image=image))

    assert "spec.version" in note


def test_known_version_leaves_nothing_to_note() -> None:
    assert spec_warnings(spec()) == ()
