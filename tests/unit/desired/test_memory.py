"""The computed memory of a server's model, in its status and in the condition `Accepted`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.sizing import sized
from tests.helpers.specs import body
from vllm_operator.api.server import parse_server
from vllm_operator.desired.memory import UNKNOWN, Memory, memory_of
from vllm_operator.desired.state import desired_state

LLAMA = {"model": {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct"}, "image": "vllm/vllm-openai:v0.19.0"}


def of(**spec: Any) -> Memory:
    return memory_of(parse_server(body(**LLAMA | spec)).spec)


def on(product: str) -> dict[str, Any]:
    return {"scheduling": {"nodeSelector": {"nvidia.com/gpu.product": product}}}


def test_well_known_model_has_its_weights_and_the_bytes_of_a_sequence() -> None:
    found = of(engine={"maxModelLen": 8192})

    assert found.fields == {
        "weightsBytes": sized("Meta-Llama-3.1-8B").weights,
        "contextBytes": 8192 * 2 * 32 * 8 * 128 * 2,  # keys and values of 32 layers, 8 heads, 128 elements of 2 bytes
    }
    assert found.notes == ()


def test_named_gpu_adds_the_tokens_that_plan_prints() -> None:
    found = of(engine={"maxModelLen": 8192, "gpuMemoryUtilization": 0.85}, **on("NVIDIA-H100-80GB-HBM3"))

    expected = sized("Meta-Llama-3.1-8B", max_model_len=8192, gpu_memory_utilization=0.85)
    assert found.fields["kvCacheTokens"] == expected.capacity.tokens
    assert found.fields["fits"] is True
    assert found.notes == ()


def test_model_that_does_not_fit_the_named_gpu_is_noted() -> None:
    state = desired_state(body(**LLAMA, **on("NVIDIA-L4")), frozenset())

    assert state.memory.fields["fits"] is False
    assert state.problems == ()
    assert "of the memory of L4-24GB, the weights take 15.0 GiB" in state.warnings[-1]
    assert "one sequence of 131072 tokens takes 16.0 GiB" in state.warnings[-1]


def test_impossible_tensor_parallel_size_is_noted_without_figures() -> None:
    found = of(engine={"tensorParallelSize": 3})

    assert found.fields == {}
    assert found.notes == (
        "vLLM will not start: --tensor-parallel-size 3 is impossible: 32 attention heads are not divisible by 3",
    )


def test_sizes_of_flags_count_like_those_of_fields() -> None:
    assert of(engine={"extraArgs": ["--tensor-parallel-size=2"]}) == of(engine={"tensorParallelSize": 2})


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"uri": "hf://nobody/nothing"}},
        {"model": {"uri": "pvc://models/meta-llama/Llama-3.1-8B-Instruct"}},
        {"model": LLAMA["model"] | {"revision": "abc"}},  # type: ignore[operator]
        {"engine": {"extraArgs": ["--enable-lora"]}},
        {"engine": {"extraArgs": ["--max-model-len=8192"]}},
        {"engine": {"speculativeConfig": {"method": "ngram", "num_speculative_tokens": 3}}},
        {"engine": {"kvCacheDtype": "turboquant_k8v4"}},
        {"engine": {"dtype": "float4"}},
        {"engine": {"quantization": "unknown"}},
        {"engine": {"pipelineParallelSize": 64}},
        {"accelerator": {"resourceName": "aws.amazon.com/neuroncore"}},
    ],
)
def test_nothing_is_said_of_what_is_not_computed(spec: dict[str, Any]) -> None:
    assert of(**spec) == UNKNOWN


@pytest.mark.parametrize(
    "spec",
    [
        {},
        on("NVIDIA-Unheard-Of"),
        on("NVIDIA-H100-80GB-HBM3") | {"accelerator": {"count": 4}},  # not one GPU for each rank
        on("NVIDIA-H100-80GB-HBM3") | {"version": "unknown"},
        {"accelerator": {"resourceName": ""}},
    ],
)
def test_tokens_need_a_known_gpu_and_release(spec: dict[str, Any]) -> None:
    assert set(of(**spec).fields) == {"weightsBytes", "contextBytes"}


def test_equal_specs_are_computed_once() -> None:
    assert of() is of(replicas=3)
