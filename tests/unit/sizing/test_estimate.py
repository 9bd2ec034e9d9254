from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.sizing import model, options, sized
from tools.bench.sizing import comparisons, quantile
from vllm_operator.sizing.estimate import cache_element_bytes, estimate, model_dtype
from vllm_operator.sizing.gpus import cpu_device, find_device
from vllm_operator.sizing.units import GIB

MEASURED = list(comparisons())


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row.name}-{row.figure}")
def test_measured_start_is_met(row: object) -> None:
    assert row.is_met, f"{row.computed} instead of {row.measured}"  # type: ignore[attr-defined]


def test_accuracy_over_all_measured_starts() -> None:
    errors = {
        figure: [abs(row.error) for row in MEASURED if row.figure == figure] for figure in ("weights", "kv_cache")
    }
    assert quantile(errors["weights"], 0.9) < 0.01
    assert quantile(errors["kv_cache"], 0.5) < 0.02
    assert quantile(errors["kv_cache"], 0.9) < 0.05


def test_no_start_that_failed_is_said_to_fit() -> None:
    failed = [row for row in MEASURED if row.figure == "fits"]
    assert failed
    assert not any(row.computed for row in failed)


def test_parts_add_up_to_the_requested_memory() -> None:
    result = sized("Meta-Llama-3.1-8B", max_model_len=8192)
    assert result.weights + result.activation + result.non_torch + result.kv_cache == result.requested


def test_cuda_graphs_count_since_0_20() -> None:
    result = sized("Qwen3-30B-A3B", vllm="0.21.0", max_model_len=8192)
    parts = result.weights + result.activation + result.non_torch + result.cuda_graphs + result.kv_cache
    assert parts == result.requested


def test_measured_weights_replace_the_computed_ones() -> None:
    result = estimate(model("Meta-Llama-3.1-70B"), options(tp=2), find_device("H100"), 150 * GIB)
    assert result.whole_weights == 150 * GIB
    assert result.weights / GIB == pytest.approx(75.0, rel=0.001)


def test_one_gpu_takes_all_measured_weights() -> None:
    assert estimate(model("Qwen3-8B"), options(), find_device("H100"), 20 * GIB).weights == 20 * GIB


def test_given_bytes_of_the_cache_are_used() -> None:
    result = sized("Meta-Llama-3.1-8B", kv_cache_memory_bytes=4 * GIB, max_model_len=8192)
    assert (result.kv_cache, result.capacity.tokens, result.margin) == (4 * GIB, 32_768, 0)


def test_stage_with_the_least_room_is_reported() -> None:
    result = sized("Meta-Llama-3.1-70B", tp=2, pp=2)
    assert result.stage in (0, 1)
    assert result.weights < sized("Meta-Llama-3.1-70B", tp=2).weights


def test_cpu_gives_the_cache_its_own_space() -> None:
    result = estimate(model("Qwen3-0.6B"), options(max_model_len=2048), cpu_device(1))
    assert result.kv_cache == GIB
    assert result.capacity.tokens == GIB // (28 * 8 * 256 * 2) // 128 * 128


def test_too_little_memory_does_not_fit() -> None:
    result = sized("Meta-Llama-3.1-70B")
    assert result.kv_cache < 0
    assert not result.fits
    assert result.capacity.tokens == 0


def test_margin_is_kept_free() -> None:
    result = sized("Meta-Llama-3.1-8B", max_model_len=8192)
    tight = replace(result, kv_cache=result.needed_for_context + result.margin - 1)
    assert result.fits
    assert not tight.fits
    assert replace(tight, kv_cache=tight.kv_cache + 1).fits


def test_unknown_release_has_a_wider_margin() -> None:
    assert sized("Qwen3-8B", vllm="0.99.0").margin == 2 * sized("Qwen3-8B", vllm="0.32.0").margin


def test_hybrid_model_needs_a_state_for_each_sequence() -> None:
    # "max_num_seqs (256) exceeds available Mamba cache blocks (184)": vLLM 0.26.0 on L40S.
    result = estimate(
        model("Qwen3.5-27B"),
        options("0.26.0", max_model_len=65_536, gpu_memory_utilization=0.9),
        find_device("L40S"),
        28.51 * GIB,
    )
    assert result.kv_cache > result.needed_for_context + result.margin
    assert result.capacity.blocks < 256
    assert not result.fits


@pytest.mark.parametrize(
    ("dtype", "kv", "expected"),
    [(None, "auto", ("bfloat16", 2)), ("float32", "auto", ("float32", 4)), (None, "fp8", ("bfloat16", 1.0))],
)
def test_types_of_weights_and_cache(dtype: str | None, kv: str, expected: tuple[str, float]) -> None:
    chosen = options(dtype=dtype, kv_cache_dtype=kv)
    shape = model("Qwen3-8B")
    assert (model_dtype(shape, chosen), cache_element_bytes(shape, chosen)) == expected
