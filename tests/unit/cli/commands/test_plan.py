from __future__ import annotations

import json

import pytest
import yaml

from tests.helpers.plugin import plugin
from tests.helpers.sizing import CONFIGS

LLAMA = str(CONFIGS / "Meta-Llama-3.1-70B.json")
CALL = (
    "plan", "--config", LLAMA, "--gpu", "H100-80GB", "--tp", "2", "--pp", "1", "--dtype", "bfloat16",
    "--kv-cache-dtype", "fp8", "--max-model-len", "8192", "--gpu-memory-utilization", "0.95",
    "--vllm-version", "0.19.0",
)  # fmt: skip


def test_json_has_the_figures_of_the_log() -> None:
    ended = plugin(*CALL, "-o", "json")
    assert ended.code == 0
    data = json.loads(ended.stdout)
    assert data["fits"] is True
    assert data["weights_gib"] == pytest.approx(65.74, abs=0.05)
    assert {"activation_gib", "non_torch_gib", "cuda_graph_gib", "kv_cache_gib", "kv_cache_tokens"} <= data.keys()


def test_tokens_are_exact_from_the_printed_bytes() -> None:
    data = json.loads(plugin(*CALL, "-o", "json").stdout)
    size = round(data["kv_cache_gib"] * 2**30)
    assert data["kv_cache_tokens"] == size // (16 * data["kv_bytes_per_token"]) * 16


def test_own_weights_are_of_the_whole_model() -> None:
    data = json.loads(plugin(*CALL, "--weights-gib", "131.5", "-o", "json").stdout)
    assert data["weights_gib"] == pytest.approx(65.75, abs=0.05)
    assert data["weights_from"] == "--weights-gib"


def test_model_that_does_not_fit_ends_with_1_and_advice() -> None:
    ended = plugin("plan", "--config", LLAMA, "--gpu", "H100")
    assert ended.code == 1
    assert "does not fit" in ended.stdout
    assert "use more GPUs" in ended.stdout
    assert "Fewest GPUs: 4" in ended.stdout


def test_text_and_yaml_agree_with_json() -> None:
    data = yaml.safe_load(plugin(*CALL, "-o", "yaml").stdout)
    assert f"{data['kv_cache_tokens']:,} tokens" in plugin(*CALL).stdout


def test_cost_contexts_and_comparison() -> None:
    arguments = ("plan", "--config", "Qwen/Qwen3-8B", "--gpu", "L40S", "--price", "2", "--context", "4096")
    data = json.loads(plugin(*arguments, "--compare-quantization", "-o", "json").stdout)
    assert data["cost"] == {"hour": 2.0, "month": 1460.0}
    assert set(data["concurrency"]) == {"40960", "4096"}
    assert {item["name"] for item in data["quantization"]} >= {"none", "fp8", "awq"}
    assert "QUANTIZATION" in plugin(*arguments, "--compare-quantization").stdout


def test_gpus_are_listed() -> None:
    ended = plugin("plan", "--gpus")
    assert ended.code == 0
    assert "H100-80GB" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config", LLAMA), "--gpu"),
        (("--config", "/no/such", "--gpu", "H100"), "no such file"),
        (("--config", LLAMA, "--gpu", "H1000"), "nearest are"),
        (("--config", LLAMA, "--gpu", "H100", "--tp", "0"), "--tp"),
        (("--config", LLAMA, "--gpu", "H100", "--pp", "100"), "the model has 80 layers"),
        (("--config", LLAMA, "--gpu", "H100", "--gpu-memory-utilization", "1.5"), "--gpu-memory-utilization"),
        (("--config", LLAMA, "--gpu", "H100", "--vllm-version", "latest"), "no release of vLLM"),
        (("--config", LLAMA, "--gpu", "H100", "--weights-gib", "-1"), "--weights-gib"),
        (("--config", str(CONFIGS / "DeepSeek-V4-Flash.json"), "--gpu", "H100"), "cannot be sized"),
    ],
)
def test_bad_input_is_a_usage_error_that_names_it(arguments: tuple[str, ...], words: str) -> None:
    ended = plugin("plan", *arguments)
    assert ended.code == 2
    assert words in ended.stderr
