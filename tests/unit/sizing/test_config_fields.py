from __future__ import annotations

import pytest

from vllm_operator.sizing.config_fields import MAX_SIZE, ConfigError, fraction, integer, part, strings, text


def test_first_present_name_is_read() -> None:
    assert integer({"n_embd": 768}, "hidden_size", "n_embd") == 768


def test_null_is_missing() -> None:
    assert integer({"head_dim": None}, "head_dim", default=64) == 64


def test_whole_float_is_an_integer() -> None:
    assert integer({"hidden_size": 4096.0}, "hidden_size") == 4096


@pytest.mark.parametrize("value", [True, "4096", 1.5, [1, 2], [], ["1"], {}])
def test_other_types_are_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"hidden_size is .*whole number"):
        integer({"hidden_size": value}, "hidden_size")


@pytest.mark.parametrize("value", [0, -1, MAX_SIZE + 1, 10**30])
def test_numbers_out_of_bounds_are_refused(value: int) -> None:
    with pytest.raises(ConfigError, match="must be between 1 and"):
        integer({"hidden_size": value}, "hidden_size")


def test_required_field_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="vocab_size is missing"):
        integer({}, "vocab_size")


def test_infinite_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="hidden_size"):
        integer({"hidden_size": float("inf")}, "hidden_size")


def test_fraction_is_bounded() -> None:
    assert fraction({}, "partial_rotary_factor", 1.0) == 1.0
    assert fraction({"partial_rotary_factor": 0.25}, "partial_rotary_factor", 1.0) == 0.25
    with pytest.raises(ConfigError, match="partial_rotary_factor"):
        fraction({"partial_rotary_factor": 2}, "partial_rotary_factor", 1.0)


def test_other_kinds_are_read_as_missing() -> None:
    assert text({"model_type": 1}, "model_type", default="none") == "none"
    assert part({"text_config": []}, "text_config") is None
    assert strings({"layer_types": "full_attention"}, "layer_types") == ()
    assert strings({"layer_types": ["a", 1]}, "layer_types") == ("a",)


def test_list_of_equal_numbers_is_one_number() -> None:
    # Gemma 3n names the width of each layer, InternVL rows and columns of a patch.
    assert integer({"patch_size": [14, 14]}, "patch_size") == 14
