from __future__ import annotations

import pytest

from vllm_operator.sizing.release import ReleaseError, ReleaseRules, parse_release


@pytest.mark.parametrize("text", ["0.19.0", "v0.19.1", "0.19", " 0.19.0 ", "0.19.0+cu128", "0.19.0rc1", "0.19.1.dev5"])
def test_forms_of_a_release(text: str) -> None:
    assert parse_release(text).number == (0, 19)


@pytest.mark.parametrize("text", ["", "latest", "1", "0.x", "0.19.0;rm", "9" * 99])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="no release of vLLM"):
        parse_release(text)


@pytest.mark.parametrize(
    ("text", "utilization", "counted", "sampler"),
    [
        ("0.9.2", 0.9, False, "sort"),
        ("0.16.0", 0.9, False, "sort"),
        ("0.17.1", 0.9, False, "triton"),
        ("0.19.0", 0.9, False, "triton"),
        ("0.20.2", 0.92, True, "triton"),
        ("0.21.0", 0.92, True, "flashinfer"),
        ("0.32.0", 0.92, True, "flashinfer"),
    ],
)
def test_defaults_by_release(text: str, utilization: float, counted: bool, sampler: str) -> None:
    release = parse_release(text)
    assert release.default_utilization == utilization
    assert release.counts_cuda_graphs == counted
    assert release.sampler == sampler


def test_patch_releases_of_0_20_count_tokens_differently() -> None:
    assert not parse_release("0.20.0").tokens_from_concurrency
    assert parse_release("0.20.2").tokens_from_concurrency


@pytest.mark.parametrize(
    ("number", "architecture", "experts", "quantized", "hybrid", "second"),
    [
        ((0, 21), "Qwen3ForCausalLM", False, False, False, False),
        ((0, 22), "Qwen3ForCausalLM", False, False, False, True),
        ((0, 22), "Qwen3ForCausalLM", False, True, False, False),
        ((0, 23), "LlamaForCausalLM", False, False, False, True),
        ((0, 24), "Qwen2MoeForCausalLM", True, False, False, True),
        ((0, 26), "LlamaForCausalLM", False, True, False, True),
        ((0, 26), "Qwen3MoeForCausalLM", True, False, False, False),
        ((0, 26), "Qwen3_5ForConditionalGeneration", False, False, True, False),
        ((0, 30), "Qwen3MoeForCausalLM", True, True, True, True),
    ],
)
def test_model_runner_by_release(
    number: tuple[int, int], architecture: str, experts: bool, quantized: bool, hybrid: bool, second: bool
) -> None:
    assert ReleaseRules(number).uses_second_runner(architecture, experts, quantized, hybrid) == second


def test_releases_that_were_not_read_are_marked() -> None:
    assert parse_release("0.33.0").is_known
    assert parse_release("0.6.6").is_known
    assert not parse_release("0.5.4").is_known
    assert not parse_release("1.0.0").is_known


def test_other_changes_have_their_release() -> None:
    assert parse_release("0.10.2").baseline_before_nccl
    assert not parse_release("0.11.0").baseline_before_nccl
    assert parse_release("0.14.0").keeps_expert_workspace
    assert not parse_release("0.13.0").keeps_expert_workspace
    assert parse_release("0.18.0").captures_in_profile
    assert not parse_release("0.17.1").captures_in_profile
    assert parse_release("0.9.0").windows_are_full
    assert not parse_release("0.9.2").windows_are_full
    assert parse_release("0.27.0").keeps_in_flight_tokens
    assert parse_release("0.28.0").largest_defaults
    assert parse_release("0.27.0").caches_recurrent_prefixes
    assert parse_release("0.29.0").second_runner_counts_graphs


@pytest.mark.parametrize(
    ("release", "capability", "first"),
    [("0.7.3", 9.0, True), ("0.8.5", 9.0, False), ("0.8.5", 7.5, True), ("0.10.2", 7.0, True), ("0.11.0", 7.5, False)],
)
def test_first_engine_by_release_and_gpu(release: str, capability: float, first: bool) -> None:
    assert parse_release(release).uses_first_engine(capability) == first


@pytest.mark.parametrize(
    ("release", "capability", "pipeline", "data", "fused"),
    [
        ("0.16.0", 9.0, 1, 1, False),
        ("0.17.0", 9.0, 1, 1, True),
        ("0.19.0", 10.0, 1, 1, True),
        ("0.19.0", 8.0, 1, 1, False),
        ("0.19.0", 12.0, 1, 1, False),
        ("0.19.0", 9.0, 2, 1, False),
        ("0.19.0", 9.0, 1, 2, False),
        ("0.21.0", 9.0, 1, 2, True),
    ],
)
def test_fused_all_reduce_by_release(release: str, capability: float, pipeline: int, data: int, fused: bool) -> None:
    assert parse_release(release).fuses_all_reduce(capability, pipeline, data) == fused
