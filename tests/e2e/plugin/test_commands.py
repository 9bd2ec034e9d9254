"""Every command that reads, on a real cluster, in the order in which a person uses them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import yaml

from tests.e2e.plugin.conftest import KEY
from tests.e2e.plugin.program import PROGRAM, Program
from tools.harness.kube import Kube

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
    "max_position_embeddings": 131072, "vocab_size": 128256, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip


def test_plan_needs_no_cluster(program: Program, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    ended = program.run("plan", "--config", str(tmp_path), "--gpu", "H100-80GB", "--max-model-len", "8192")
    assert ended.code == 0, ended.text
    assert "KV cache" in ended.stdout


def test_render_shows_the_objects_and_what_would_change(
    program: Program, manifest_file: str, secret: None, metrics: None
) -> None:
    kinds = [body["kind"] for body in yaml.safe_load_all(program.run("render", "-f", manifest_file).stdout)]
    assert {"Deployment", "Service", "HorizontalPodAutoscaler"} <= set(kinds)
    ended = program.run("render", "-f", manifest_file, "--diff")
    assert ended.code == 1
    assert "+++ manifest/Deployment/mistral" in ended.stdout
    ended = program.run("render", "-f", manifest_file, "--target", "compose")
    assert ended.code == 0, ended.text
    assert "services:" in ended.stdout


def test_check_of_a_manifest_and_of_the_cluster(program: Program, manifest_file: str, metrics: None) -> None:
    ended = program.run("check", "-f", manifest_file)
    assert ended.code == 0, ended.text
    assert "API key" in ended.stdout
    ended = program.run("check", "--cluster")
    assert ended.code == 0, ended.text
    assert "custom.metrics.k8s.io" in ended.stdout
    assert "all 9 rights" in ended.stdout


def test_wait_shows_the_progress_until_ready(program: Program, serving: str) -> None:
    assert program.run("wait", serving, "--timeout", "5s").stdout == f"{serving}: Ready\n"


def test_render_diff_is_empty_for_what_runs(program: Program, manifest_file: str, serving: str) -> None:
    ended = program.run("render", "-f", manifest_file, "--diff")
    assert (ended.code, ended.stdout) == (0, ""), ended.text


def test_get_in_each_format(program: Program, serving: str) -> None:
    assert "1/1     Serving" in program.run("get").stdout
    assert "ENDPOINT" in program.run("get", "-o", "wide").stdout
    assert program.namespace in program.run("get", "-A").stdout
    assert program.run("get", "-o", "name").stdout == f"vllmserver.vllm-operator.dev/{serving}\n"
    assert json.loads(program.run("get", serving, "-o", "json").stdout)["status"]["phase"] == "Serving"
    assert yaml.safe_load(program.run("get", serving, "-o", "yaml").stdout)["kind"] == "VLLMServer"


def test_status_shows_load_and_autoscaler(program: Program, serving: str, kube: Kube) -> None:
    def shown() -> None:
        text = program.run("status", serving).stdout
        assert "running 0, waiting 0, KV cache 0.0%" in text
        assert "vllm_num_requests_running 0 (target 2)" in text

    kube.eventually(shown, within=90, namespace=program.namespace)
    data = json.loads(program.run("status", serving, "-o", "json").stdout)
    assert data["replicas"][0]["status"]["phase"] == "Serving"
    ended = program.on_terminal("status", serving, "-w", after="Serving")
    assert ended.code == 130
    assert "Traceback" not in ended.stdout


def test_top_on_a_pipe_and_on_terminals(program: Program, serving: str) -> None:
    assert "Serving" in program.run("top", serving).stdout
    [line] = json.loads(program.run("top", serving, "-o", "json").stdout)
    assert line["load"]["running"] == 0
    for columns in (120, 20):
        ended = program.on_terminal("top", after="ctrl-C ends" if columns > 80 else "running", columns=columns)
        assert ended.code == 130
        # The full screen is left again.
        assert "\x1b[?1049h" in ended.stdout
        assert "\x1b[?1049l" in ended.stdout
    ended = program.on_terminal("get", after="MESSAGE", keys=b"", NO_COLOR="1")
    # The line of progress comes and goes by cursor movements; nothing has a colour.
    assert not re.search(r"\x1b\[[0-9;]*m", ended.stdout)


def test_logs_of_the_replica(program: Program, serving: str) -> None:
    ended = program.run("logs", serving, "--tail", "400")
    assert "vLLM" in ended.stdout
    assert KEY not in ended.text
    ended = program.interrupted("logs", serving, "-f", "--tail", "5", after="\n")
    assert ended.code == 130
    assert "Traceback" not in ended.stdout


def test_chat_and_complete_stream_with_the_key_of_the_secret(program: Program, serving: str) -> None:
    ended = program.run("chat", serving, "Say", "hello", "--max-tokens", "12", "--temperature", "0")
    assert ended.code == 0, ended.text
    assert "12 generated tokens" in ended.stderr
    ended = program.run("complete", serving, "-o", "json", "--max-tokens", "5", stdin="Once upon a time")
    assert json.loads(ended.stdout)["usage"]["completion_tokens"] == 5
    ended = program.on_terminal("chat", serving, "--max-tokens", "4", after=">", keys=b"hello\n\x04")
    assert ended.code == 0, ended.stdout
    assert "4 generated tokens" in ended.stdout
    assert KEY not in ended.stdout


def test_doctor_and_report(program: Program, serving: str, tmp_path: Path) -> None:
    ended = program.run("doctor")
    assert ended.code == 0, ended.text
    assert "operator  ok" in ended.stdout
    path = tmp_path / "report.zip"
    assert program.run("report", "-o", str(path)).code == 0
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert [name for name in texts if name.endswith(".log") and serving in name]
    assert [name for name, text in texts.items() if KEY in text] == []


def test_convert_takes_a_deployment_of_the_cluster(program: Program, kube: Kube, serving: str) -> None:
    here = ("-n", program.namespace)
    body = kube.kubectl(*here, "get", "deployment", serving, "-o", "yaml").stdout
    ended = program.run("convert", "-f", "-", stdin=body)
    assert ended.code == 1
    assert f"it belongs to the VLLMServer {serving} already" in ended.stderr
    image = "--image=vllm/vllm-openai:v0.32.0"
    kube.kubectl(*here, "create", "deployment", "plain", image, "--replicas=0", "--", "vllm", "serve", "/models/tiny")
    body = kube.kubectl(*here, "get", "deployment", "plain", "-o", "yaml").stdout
    ended = program.run("convert", "-f", "-", stdin=body)
    assert ended.code == 0, ended.text
    [server] = yaml.safe_load_all(ended.stdout)
    assert server["spec"]["model"]["uri"] == "file:///models/tiny"
    assert "podTemplate" not in server["spec"]
    kube.kubectl(*here, "delete", "deployment", "plain")


def test_kubectl_finds_and_completes_the_plugin(program: Program, kube: Kube, serving: str) -> None:
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "KUBECONFIG": str(kube.kubeconfig)}

    def kubectl(*words: str) -> str:
        done = subprocess.run([kube.program, *words], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert serving in kubectl("vllm", "get", "-n", program.namespace)
    assert serving in kubectl("__complete", "vllm", "status", "-n", program.namespace, "mis")
    assert "complete" in program.run("completion", "bash").stdout
