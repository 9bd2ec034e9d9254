from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.sizing import CONFIGS, config
from vllm_operator.sizing.sources import SourceError, read_model

HEADER = json.dumps({"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}).encode()
SAFETENSORS = len(HEADER).to_bytes(8, "little") + HEADER + b"\0" * 8


def test_file_is_read() -> None:
    found = read_model(str(CONFIGS / "Qwen3-8B.json"))
    assert found.config["model_type"] == "qwen3"
    assert found.headers == ()


def test_folder_has_headers_and_a_separate_quantization(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config("Qwen3-8B")))
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    (tmp_path / "model.safetensors").write_bytes(SAFETENSORS)
    found = read_model(str(tmp_path))
    assert found.headers == (HEADER,)
    assert found.config["quantization_config"] == {"quantization": {"quant_algo": "FP8"}}


def test_well_known_model_needs_no_network() -> None:
    found = read_model("hf://Qwen/Qwen3-8B")
    assert found.origin == "https://huggingface.co/Qwen/Qwen3-8B/blob/main/config.json"


@pytest.mark.parametrize("source", ["/no/such/file", "a b", "hf://", ""])
def test_missing_source_is_named(source: str) -> None:
    with pytest.raises(SourceError):
        read_model(source)


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no config\.json"):
        read_model(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SourceError, match="no JSON"):
        read_model(str(tmp_path))


def test_large_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as stream:
        stream.truncate(17 << 20)
    with pytest.raises(SourceError, match="larger than"):
        read_model(str(tmp_path))


def test_broken_safetensors_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 16)
    with pytest.raises(SourceError, match=r"model\.safetensors"):
        read_model(str(tmp_path))


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hugging Face Hub does: files by revision, ranges, 401 without a token for a gated model."""

    files = {
        "/o/m/resolve/main/config.json": json.dumps({"model_type": "qwen3"}).encode(),
        "/o/m/resolve/main/model.safetensors": SAFETENSORS,
        "/o/gated/resolve/v1/config.json": b'{"model_type": "llama"}',
    }

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        if body is None or ("gated" in self.path and self.headers["Authorization"] != "Bearer secret"):
            self.send_error(404 if body is None else 401)
            return
        span = self.headers.get("Range")
        if span:
            first, last = map(int, span.removeprefix("bytes=").split("-"))
            body = body[first : last + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield url
        server.shutdown()


def test_hub_gives_config_and_headers_by_ranges(hub: str) -> None:
    found = read_model("hf://o/m")
    assert found.config["model_type"] == "qwen3"
    assert found.headers == (HEADER,)
    assert found.origin == f"{hub}/o/m/resolve/main/config.json"


def test_gated_model_needs_its_token(hub: str) -> None:
    with pytest.raises(SourceError, match="HTTP 401: the model is gated"):
        read_model("hf://o/gated@v1")
    assert read_model("hf://o/gated@v1", "secret").config["model_type"] == "llama"


def test_token_is_in_no_message(hub: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_model("hf://o/none", "secret")
    assert "secret" not in str(caught.value)
    assert "HTTP 404" in str(caught.value)


def test_unreachable_hub_shows_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(SourceError, match="without a network, give the model's config"):
        read_model("hf://o/m")


def test_endpoint_is_a_web_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(SourceError, match="HF_ENDPOINT"):
        read_model("hf://o/m")
