from __future__ import annotations

import pytest

from tests.helpers.sizing import model
from vllm_operator.sizing.activation import PLAIN_BYTES, SHORT_SORT_BYTES, SORT_BYTES, peak, routed_bytes
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
    assert peak(model(name), batch, ONE, sampler, None).total / GIB == pytest.approx(gib, rel=0.02)


def test_sampler_decides_with_many_sequences() -> None:
    shape = model("Qwen3-8B")
    by_sort = peak(shape, Batch(8192, 1024), ONE, "sort", None)
    by_kernel = peak(shape, Batch(8192, 1024), ONE, "triton", None)
    second = peak(shape, Batch(8192, 1024), ONE, "second-runner", None)
    assert by_sort.sampling > by_kernel.sampling > second.sampling
    assert second.total > second.forward > second.sampling


def test_short_batches_sort_at_once() -> None:
    shape = model("Qwen3-8B")
    hidden = 2048 * 4096 * 2
    few = peak(shape, Batch(2048, 64), ONE, "sort", None).sampling - hidden
    assert few == 64 * shape.vocabulary * SHORT_SORT_BYTES
    assert peak(shape, Batch(2048, 4), ONE, "triton", None).sampling - hidden == 4 * shape.vocabulary * SHORT_SORT_BYTES
    assert SORT_BYTES > PLAIN_BYTES


def test_tensor_parallelism_divides_the_layers_but_not_the_logits() -> None:
    shape = model("Meta-Llama-3.1-70B")
    one, eight = (peak(shape, Batch(8192, 256), Division(tensor), "triton", None) for tensor in (1, 8))
    assert eight.forward < one.forward / 3
    assert eight.sampling == one.sampling


def test_images_keep_the_outputs_of_their_encoder() -> None:
    shape = model("Qwen3-VL-8B-Instruct")
    assert peak(shape, Batch(2048, 256), ONE, "sort", None).encoder == 16384 * 4096 * 4
    assert peak(shape, Batch(2048, 256), ONE, "sort", 0).encoder == 0


def test_experts_need_a_workspace() -> None:
    assert routed_bytes(model("Qwen3-235B-A22B-FP8"), 8192, Division(4)) / GIB == pytest.approx(0.547, abs=0.001)
    assert routed_bytes(model("Qwen3-8B"), 8192, ONE) == 0
