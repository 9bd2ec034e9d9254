from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.plugin import Ended, plugin
from tests.helpers.sizing import CONFIGS
from vllm_operator.offline.report import judge_file


def write(*options: str) -> Ended:
    return plugin("plan", "--config", "Qwen/Qwen3-32B", *options, "--write", "-")


def document(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.text
    found: dict[str, Any] = yaml.safe_load(ended.stdout)
    return found


@pytest.mark.parametrize(
    "options",
    [
        ("--gpu", "H200"),
        ("--gpu", "L40S", "--max-model-len", "16384"),
        ("--gpu", "MI300X", "--kv-cache-dtype", "fp8", "--max-num-seqs", "64"),
        ("--gpu", "CPU", "--max-model-len", "4096"),
        ("--gpu", "NVIDIA-H100-80GB-HBM3", "--tp", "2", "--pp", "2", "--enforce-eager", "--dtype", "bfloat16"),
        ("--gpu", "B200", "--dp", "2", "--enable-expert-parallel", "--vllm-version", "0.31"),
    ],
)
def test_written_manifests_are_accepted(options: tuple[str, ...]) -> None:
    (verdict,) = judge_file(write(*options).stdout, "default", frozenset(), "restricted")
    assert verdict.accepted, verdict.problems


def test_manifest_has_the_fewest_devices_that_fit() -> None:
    spec = document(write("--gpu", "L40S", "--max-model-len", "16384"))["spec"]
    assert spec["engine"] == {"maxModelLen": 16384, "tensorParallelSize": 2}
    assert spec["accelerator"] == {"count": 2}
    assert spec["model"] == {"uri": "hf://Qwen/Qwen3-32B"}


def test_manifest_keeps_the_size_that_was_asked_for_where_it_fits() -> None:
    spec = document(write("--gpu", "NVIDIA-H100-80GB-HBM3", "--tp", "4", "--max-model-len", "8192"))["spec"]
    assert spec["accelerator"] == {"count": 4, "product": "NVIDIA-H100-80GB-HBM3"}
    assert spec["engine"]["tensorParallelSize"] == 4


def test_image_is_that_of_the_release() -> None:
    assert document(write("--gpu", "H200", "--vllm-version", "v0.31"))["spec"]["image"] == "vllm/vllm-openai:v0.31.0"


def test_nothing_is_written_when_nothing_fits(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    ended = plugin("plan", "--config", "deepseek-ai/DeepSeek-R1", "--gpu", "T4", "--write", str(file))
    assert ended.code == 1
    assert "no size fits on 8 x T4-16GB" in ended.stderr
    assert not file.exists()


def test_files_need_an_address_in_the_cluster(tmp_path: Path) -> None:
    options = ("plan", "--config", str(CONFIGS / "Qwen3-8B.json"), "--gpu", "A100", "--write")
    ended = plugin(*options, "-")
    assert ended.code == 2
    assert "--model" in ended.stderr
    file = tmp_path / "server.yaml"
    written = plugin(*options, str(file), "--model", "pvc://")
    assert written.code == 1
    assert "would be refused" in written.stderr
    written = plugin(*options, str(file), "--model", "pvc://models/Qwen3_8B.v2")
    assert written.code == 0
    assert yaml.safe_load(file.read_text())["metadata"]["name"] == "qwen3-8b-v2"


def test_existing_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("mine")
    ended = plugin("plan", "--config", "Qwen/Qwen3-32B", "--gpu", "H200", "--write", str(file))
    assert ended.code == 2
    assert "the file exists" in ended.stderr
    assert file.read_text() == "mine"
    missing = plugin("plan", "--config", "Qwen/Qwen3-32B", "--gpu", "H200", "--write", str(tmp_path / "a" / "b"))
    assert missing.code == 2


def test_tpus_are_not_written() -> None:
    assert "TPU" in write("--gpu", "TPU-V6E").stderr
