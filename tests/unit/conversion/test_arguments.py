from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.conversion.arguments import convert_arguments, describe
from vllm_operator.conversion.result import Draft


def convert(*arguments: str, **variables: str) -> tuple[dict[str, Any], str | None, list[str]]:
    draft = Draft()
    model = convert_arguments(arguments, variables, draft)
    return draft.spec, model, [str(item) for item in draft.lost]


@pytest.mark.parametrize(
    ("arguments", "engine"),
    [
        (["--max-model-len", "8192"], {"maxModelLen": 8192}),
        (["--max_model_len=8192"], {"maxModelLen": 8192}),
        (["-tp", "2", "-pp=2"], {"tensorParallelSize": 2, "pipelineParallelSize": 2}),
        (["--gpu-memory-utilization", "0.9"], {"gpuMemoryUtilization": 0.9}),
        (["--gpu-memory-utilization", "1"], {"gpuMemoryUtilization": 1}),
        (["--trust-remote-code", "--enforce-eager"], {"trustRemoteCode": True, "enforceEager": True}),
        (["--no-enable-prefix-caching"], {"enablePrefixCaching": False}),
        (["--dtype", "bfloat16", "--kv-cache-dtype=fp8"], {"dtype": "bfloat16", "kvCacheDtype": "fp8"}),
        (["--speculative-config", '{"method": "ngram"}'], {"speculativeConfig": {"method": "ngram"}}),
        (["--max-num-seq", "64"], {"maxNumSeqs": 64}),
        # A size with a unit is no whole number.
        (["--max-model-len", "8k"], {"extraArgs": ["--max-model-len=8k"]}),
        (["--seed", "7", "--enable-log-requests"], {"extraArgs": ["--seed=7", "--enable-log-requests"]}),
        (["--lora-modules", "a=b", "c=d"], {"extraArgs": ["--lora-modules", "a=b", "c=d"]}),
        (["--no-trust-remote-code"], {"extraArgs": ["--no-trust-remote-code"]}),
        (["--brand-new-flag", "x"], {"extraArgs": ["--brand-new-flag=x"]}),
        (["--max-model-len", "$(LEN)"], {"maxModelLen": 4096}),
        (["--max-model-len", "$(SECRET)"], {"extraArgs": ["--max-model-len=$(SECRET)"]}),
    ],
)
def test_flags_become_fields_or_extra_arguments(arguments: list[str], engine: dict[str, Any]) -> None:
    spec, _, lost = convert(*arguments, LEN="4096")
    assert spec == {"engine": engine}
    assert lost == []


def test_model_names_and_revision() -> None:
    spec, model, _ = convert("org/a", "--served-model-name", "a", "b", "--revision=v1")
    assert model == "org/a"
    assert spec == {"model": {"servedNames": ["a", "b"], "revision": "v1"}}
    assert convert("--model=org/b")[1] == "org/b"
    assert convert("--model", "$(M)", M="org/c")[1] == "org/c"
    assert convert("--seed=1")[1] is None


def test_drain_time_is_the_rollouts() -> None:
    assert convert("--shutdown-timeout", "30")[0] == {"rollout": {"drainTimeoutSeconds": 30}}


def test_secrets_are_neither_copied_nor_shown() -> None:
    spec, _, lost = convert("--api-key", "sk-123456", "--hf-token=hf_abc")
    assert spec == {}
    assert "sk-123456" not in str(lost)
    assert "hf_abc" not in str(lost)
    assert "spec.security.apiKeySecretRef" in lost[0]
    assert describe(["vllm", "serve", "--api-key", "sk-1", "--hf-token=hf_a"]) == (
        "vllm serve --api-key *** --hf-token=***"
    )


def test_what_the_operator_sets_is_dropped_and_said_where_it_differs() -> None:
    assert convert("--host", "0.0.0.0", "--port=8000") == ({}, None, [])
    assert convert("--port=9000")[2] == [
        "argument --port: vLLM listens on port 8000; service.port sets the port of the Service"
    ]


def test_removed_flags_are_dropped_only_for_the_default_image() -> None:
    assert "--swap-space" in convert("--swap-space=4")[2][0]
    draft = Draft({"image": "vllm/vllm-openai:v0.9.0"})
    convert_arguments(["--swap-space=4", "--disable-log-requests"], {}, draft)
    assert draft.get("engine.extraArgs") == ["--swap-space=4"]
    assert [item.field for item in draft.lost] == ["argument --disable-log-requests"]
