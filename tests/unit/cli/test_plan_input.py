from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.plugin import plugin

SERVER = """
apiVersion: vllm-operator.dev/v1alpha1
kind: VLLMServer
metadata: {name: qwen}
spec:
  model: {uri: "hf://Qwen/Qwen3-8B"}
  image: vllm/vllm-openai:v0.19.0
  engine: {tensorParallelSize: 2, maxModelLen: 8192, ENGINE}
  accelerator: {count: 2, product: NVIDIA-H100-80GB-HBM3}
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    file = tmp_path / "server.yaml"
    file.write_text(SERVER.replace(", ENGINE", ""))
    return file


def test_manifest_gives_model_gpu_release_and_engine(server: Path) -> None:
    ended = plugin("plan", "-f", str(server))
    assert ended.code == 0
    assert "Qwen/Qwen3-8B on 2 x H100-80GB, vLLM 0.19: fits" in ended.stdout
    assert "Concurrency at 8,192 tokens" in ended.stdout


def test_options_win_over_the_manifest(server: Path) -> None:
    ended = plugin("plan", "-f", str(server), "--tp", "1", "--gpu", "A100", "--max-model-len", "4096")
    assert "on 1 x A100-80GB" in ended.stdout
    assert "Concurrency at 4,096 tokens" in ended.stdout


def test_refused_manifest_is_not_sized(server: Path) -> None:
    server.write_text(server.read_text().replace("maxModelLen: 8192", "maxModelLen: -1"))
    ended = plugin("plan", "-f", str(server))
    assert ended.code == 1
    assert "is refused, so there is nothing to size" in ended.stderr
    assert "maxModelLen" in ended.stderr


def test_one_server_is_sized(server: Path) -> None:
    server.write_text(server.read_text() + "---" + server.read_text())
    ended = plugin("plan", "-f", str(server))
    assert ended.code == 2
    assert "the file has 2 VLLMServers" in ended.stderr


def test_model_in_the_cluster_needs_its_config(server: Path) -> None:
    server.write_text(server.read_text().replace("hf://Qwen/Qwen3-8B", "pvc://models/qwen"))
    ended = plugin("plan", "-f", str(server))
    assert ended.code == 2
    assert "--config" in ended.stderr
    sized = plugin("plan", "-f", str(server), "--config", "Qwen/Qwen3-8B")
    assert sized.code == 0


def test_settings_that_are_not_counted_are_named(server: Path) -> None:
    text = SERVER.replace("ENGINE", "extraArgs: [--enable-lora, --enable-expert-parallel]")
    server.write_text(text)
    assert "--enable-lora of extraArgs is not counted" in plugin("plan", "-f", str(server)).stdout


def test_server_without_devices_is_sized_for_a_cpu(server: Path) -> None:
    text = server.read_text().replace("{count: 2, product: NVIDIA-H100-80GB-HBM3}", '{resourceName: ""}')
    server.write_text(text.replace("tensorParallelSize: 2, ", ""))
    assert "on 1 x CPU" in plugin("plan", "-f", str(server)).stdout


def test_a_model_is_needed() -> None:
    ended = plugin("plan", "--gpu", "H100")
    assert ended.code == 2
    assert "--config" in ended.stderr
    assert "--filename" in ended.stderr


def test_file_that_is_no_manifest() -> None:
    ended = plugin("plan", "-f", "-", stdin="[1, 2")
    assert ended.code == 1
    assert "error" in ended.stderr
