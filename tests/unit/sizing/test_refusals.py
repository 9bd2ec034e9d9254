from __future__ import annotations

import pytest

from tests.helpers.sizing import model, options, sized
from vllm_operator.sizing.gpus import find_device
from vllm_operator.sizing.quantization import NONE, parse_quantization
from vllm_operator.sizing.refusals import divides, refusals


def test_reason_of_an_impossible_size_names_the_heads() -> None:
    assert divides(model("Meta-Llama-3.1-8B"), 3) == "32 attention heads are not divisible by 3"
    assert divides(model("Meta-Llama-3.1-8B"), 2) is None


def test_heads_of_keys_and_values_divide_or_are_divided() -> None:
    assert divides(model("Qwen3-30B-A3B"), 8) is None
    assert divides(model("DeepSeek-R1"), 16) is None


def test_refused_options_never_fit() -> None:
    assert sized("Meta-Llama-3.1-8B", tp=4, max_model_len=8192).fits
    assert not sized("Meta-Llama-3.1-8B", tp=3, max_model_len=8192).fits


@pytest.mark.parametrize(("gpu", "refused"), [("T4", True), ("V100", True), ("A100", False), ("MI300X", False)])
def test_old_cards_have_no_bfloat16(gpu: str, refused: bool) -> None:
    found = list(refusals(model("Qwen3-8B"), options(dtype="bfloat16"), find_device(gpu), NONE))
    assert bool(found) == refused


def test_quantization_that_the_card_does_not_have_is_refused() -> None:
    shape = model("gpt-oss-20b")
    quantization = parse_quantization(shape.root, shape.config)
    found = list(refusals(shape, options(), find_device("T4"), quantization))
    assert found == ["T4-16GB has compute capability 7.5, and mxfp4 needs 8"]
