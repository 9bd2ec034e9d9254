from __future__ import annotations

import pytest

from tests.helpers.sizing import model
from vllm_operator.sizing.activation import (
    PLAIN_BYTES,
    SHORT_SORT_BYTES,
    SORT_BYTES,
    ProfileRun,
    peak,
    routed_bytes,
)
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import Batch
from vllm_operator.sizing.units import GIB

ONE = Division()


@pytest.mark.parametrize(
    ("name", "batch", "sampler", "gib"),
    [
        # Logged: 1.4 GiB for Qwen3-8B and for Qwen3-235B, 5.58 GiB for Qwen3-Next.
        ("Qwen3-8B", Batch(2048, 256), "sort", 1.40),
        ("Qwen3-235B-A22B-FP8", Batch(2048, 256), "sort", 1.40),
        ("Qwen3-Next-80B-A3B-Thinking", Batch(8192, 1024), "sort", 5.58),
    ],
)
def test_peak_is_that_of_the_log(name: str, batch: Batch, sampler: str, gib: float) -> None:
    assert peak(model(name), batch, ONE, ProfileRun(sampler)).total / GIB == pytest.approx(gib, abs=0.05)


def test_sampler_decides_with_many_sequences() -> None:
    shape = model("Qwen3-8B")
    by_sort = peak(shape, Batch(8192, 1024), ONE, ProfileRun("sort"))
    by_kernel = peak(shape, Batch(8192, 1024), ONE, ProfileRun("triton"))
    second = peak(shape, Batch(8192, 1024), ONE, ProfileRun("second-runner"))
    assert by_sort.sampling > by_kernel.sampling > second.sampling
    assert second.total > second.forward > second.sampling


def test_short_batches_sort_at_once() -> None:
    shape = model("Qwen3-8B")
    hidden = 2048 * 4096 * 2
    few = peak(shape, Batch(2048, 64), ONE, ProfileRun("sort")).sampling - hidden
    assert few == 64 * shape.vocabulary * (2 + SHORT_SORT_BYTES)
    assert peak(shape, Batch(2048, 4), ONE, ProfileRun("triton")).sampling - hidden == 4 * shape.vocabulary * (
        2 + SHORT_SORT_BYTES
    )
    assert SORT_BYTES > PLAIN_BYTES


def test_tensor_parallelism_divides_the_layers_but_not_the_logits() -> None:
    shape = model("Meta-Llama-3.1-70B")
    one, eight = (peak(shape, Batch(8192, 256), Division(tensor), ProfileRun("triton")) for tensor in (1, 8))
    assert eight.forward < one.forward / 3
    assert eight.sampling == one.sampling


def test_images_keep_the_outputs_of_their_encoder() -> None:
    shape = model("Qwen3-VL-8B-Instruct")
    assert peak(shape, Batch(2048, 256), ONE, ProfileRun("sort")).encoder == 16384 * 4096 * 4 * 4
    assert peak(shape, Batch(2048, 256), ONE, ProfileRun("sort", images=0)).encoder == 0


def test_experts_need_a_workspace() -> None:
    assert routed_bytes(model("Qwen3-235B-A22B-FP8"), 8192, Division(4)) / GIB == pytest.approx(1.0, abs=0.001)
    assert routed_bytes(model("Qwen3-8B"), 8192, ONE) == 0
    assert routed_bytes(model("gpt-oss-20b"), 8192, ONE) == 0


def test_workspace_of_experts_stays_during_sampling() -> None:
    shape = model("Qwen3-30B-A3B")
    kept = peak(shape, Batch(8192, 1024), ONE, ProfileRun("triton", keeps_experts=True))
    assert kept.experts == routed_bytes(shape, 8192, ONE)
    # Logged: 2.68 GiB for Qwen3-30B-A3B on H100 with 0.19.0.
    assert kept.total / GIB == pytest.approx(2.68, abs=0.01)


def test_wide_types_widen_logits_and_hidden_states() -> None:
    shape = model("Meta-Llama-3.1-8B")
    wide = peak(shape, Batch(8192, 1024), ONE, ProfileRun("triton", width=4))
    # Logged: 2.21 GiB for Llama-3.1-8B with float32, and 1.89 GiB with bfloat16, on H100 with 0.19.0.
    assert wide.total / GIB == pytest.approx(2.21, abs=0.03)


def test_inner_stages_do_not_sample() -> None:
    shape = model("Meta-Llama-3.1-8B")
    inner = peak(shape, Batch(8192, 1024), ONE, ProfileRun("triton", samples=False))
    assert inner.sampling == 0
    # Logged: 1.10 and 1.05 GiB for the first of 2 and of 4 stages.
    assert inner.total / GIB == pytest.approx(1.05, abs=0.1)
