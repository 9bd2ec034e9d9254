from __future__ import annotations

import pytest

from tests.helpers.sizing import config
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.state_layers import recurrent_cache


def test_recurrent_state_takes_its_type_from_the_config() -> None:
    cache = recurrent_cache(config("Qwen3.5-27B")["text_config"], "gated_delta_net", "bfloat16")
    assert (cache.conv_dtype, cache.state_dtype) == ("bfloat16", "float32")
    assert dict(cache.sizes)["value_heads"] == 48


def test_state_of_kda_is_float32() -> None:
    config_ = {"linear_attn_config": {"num_heads": 8, "head_dim": 128}}
    assert recurrent_cache(config_, "kda", "bfloat16").state_dtype == "float32"


def test_inner_width_comes_from_heads_before_expansion() -> None:
    sizes = dict(recurrent_cache(config("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"), "mamba2", "bfloat16").sizes)
    assert (sizes["inner"], sizes["groups"], sizes["state"]) == (4096, 8, 128)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="'retention'"):
        recurrent_cache({}, "retention", "bfloat16")
