from __future__ import annotations

from tests.helpers.sizing import config, model, options
from vllm_operator.sizing.checked_families import doubts, is_generic
from vllm_operator.sizing.estimate import estimate
from vllm_operator.sizing.gpus import find_device
from vllm_operator.sizing.model import parse_model


def test_compared_families_have_no_doubts() -> None:
    assert not is_generic(model("Qwen3-8B"))
    assert list(doubts(model("Qwen3-VL-8B-Instruct"))) == []


def test_other_families_are_called_generic_and_get_twice_the_margin() -> None:
    stranger = parse_model({**config("Qwen3-8B"), "model_type": "stranger"})
    assert is_generic(stranger)
    assert any("generic decoder" in line for line in doubts(stranger))
    known, unknown = (estimate(shape, options(), find_device("H100")) for shape in (model("Qwen3-8B"), stranger))
    assert unknown.margin == 2 * known.margin


def test_other_encoders_are_approximate() -> None:
    stranger = parse_model({**config("Qwen3-8B"), "vision_config": {"model_type": "eye", "hidden_size": 8, "depth": 2}})
    assert list(doubts(stranger)) == ["The size of the encoder eye is approximate"]
