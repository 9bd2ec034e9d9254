from __future__ import annotations

import pytest

from tests.helpers.sizing import options
from vllm_operator.sizing.engine import Batch, largest_batch
from vllm_operator.sizing.gpus import cpu_device, find_device


@pytest.mark.parametrize(
    ("gpu", "vllm", "batch"),
    [
        ("H100-80GB", "0.19.0", Batch(8192, 1024)),
        ("A100-80GB", "0.19.0", Batch(2048, 256)),
        ("L40S", "0.19.0", Batch(2048, 256)),
        ("B200", "0.19.0", Batch(8192, 1024)),
        ("B200", "0.28.0", Batch(16384, 1024)),
        ("MI300X", "0.19.0", Batch(8192, 1024)),
        ("TPU-V6E", "0.19.0", Batch(1024, 256)),
    ],
)
def test_defaults_of_the_gpu(gpu: str, vllm: str, batch: Batch) -> None:
    assert largest_batch(options(vllm), find_device(gpu), 131_072) == batch


def test_own_values_win() -> None:
    own = options(max_num_seqs=16, max_num_batched_tokens=4096)
    assert largest_batch(own, find_device("H100"), 8192) == Batch(4096, 16)


def test_short_contexts_bound_the_default() -> None:
    assert largest_batch(options(max_num_seqs=2), find_device("H100"), 1024) == Batch(2048, 2)


def test_sequences_do_not_exceed_tokens() -> None:
    assert largest_batch(options(max_num_batched_tokens=128), find_device("H100"), 8192) == Batch(128, 128)


def test_program_has_larger_defaults() -> None:
    assert largest_batch(options(offline=True), find_device("H100"), 131_072).tokens == 16384


def test_cpu_has_its_own() -> None:
    assert largest_batch(options(tp=2), cpu_device(4), 8192) == Batch(4096, 256)


def test_utilization_is_that_of_the_release_or_the_option() -> None:
    assert options("0.19.0").utilization == 0.9
    assert options("0.21.0").utilization == 0.92
    assert options("0.21.0", gpu_memory_utilization=0.5).utilization == 0.5
