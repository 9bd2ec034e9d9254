"""Names of models on the Hugging Face Hub, by the pattern of their CEL rule."""

from __future__ import annotations

import re

import pytest

from vllm_operator.api.model import URI_RULES

(PATTERN,) = (found[1] for rule in URI_RULES if (found := re.search(r"matches\('(\^\(hf://\).*)'\)", rule.rule)))


@pytest.mark.parametrize(
    "uri",
    [
        "org/name",
        "hf://org/name",
        "gpt2",
        "hf://unsloth/Qwen3-0.6B-GGUF:Q4_K_M",
        "unsloth/Qwen3-0.6B-GGUF:IQ1_S",
        "hf://unsloth/Qwen3-GGUF:UD-IQ1_S",
        "hf://unsloth/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf",
        "hf://org/name/BF16/model-00001-of-00002.gguf",
    ],
)
def test_name_on_the_hub_is_accepted(uri: str) -> None:
    assert re.search(PATTERN, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "hf://org/name/too/deep",
        "hf://org/name/model.safetensors",
        "hf://org/name:",
        "hf://org/name:a:b",
        "hf://org/name:a/b",
        "hf://name:Q4_K_M",
        "hf://org/name/.gguf",
        "org/name with space",
        "hf://org/name/../x.gguf",
    ],
)
def test_other_name_is_refused(uri: str) -> None:
    assert not re.search(PATTERN, uri)
