from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.sizing import CONFIGS, config
from vllm_operator.cli.commands.plan import command
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.planning import Plan, plan
from vllm_operator.sizing.units import GIB


def answer(source: str, **values: Any) -> Plan:
    context = command.make_context("plan", ["--config", source, "--gpu", "H100"])
    return plan({**context.params, **values})


def test_headers_of_safetensors_give_the_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config("Qwen3-8B")))
    header = json.dumps({"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 20 * GIB]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    found = answer(str(tmp_path))
    assert found.weights_from == "safetensors headers"
    assert found.result.weights / GIB == pytest.approx(20.01, abs=0.02)


def test_memory_of_a_card_that_is_in_no_table() -> None:
    found = answer(str(CONFIGS / "Qwen3-8B.json"), gpu_memory_gib=30.0, max_model_len=8192)
    assert found.device.name == "30 GiB"
    assert found.result.fits


def test_cpu_is_a_device() -> None:
    found = answer(str(CONFIGS / "Qwen3-0.6B.json"), gpu="cpu", max_model_len=2048)
    assert found.result.kv_cache == 4 * GIB
    assert found.smallest is None


def test_release_that_was_not_read_is_noted() -> None:
    found = answer(str(CONFIGS / "Qwen3-8B.json"), vllm_version="0.99.0")
    assert any("0.99.0 was not read" in note for note in found.notes)


def test_unknown_quantization_needs_the_weights(tmp_path: Path) -> None:
    document = {**config("Qwen3-8B"), "quantization_config": {"quant_method": "quip"}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(CliError, match="--weights-gib"):
        answer(str(tmp_path))
