"""The kinds of servers, each with a tiny random model, and a request of its clients."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Any

ADAPTER = "adapter"
"""Name of the LoRA adapter, and of its folder."""


@dataclass(frozen=True)
class EngineKind:
    """One kind of server.

    Attributes:
        name: name of the kind.
        model: folder of its model.
        path: path of the smallest request that it serves.
        request: path and body of a request of its clients.
        arguments: further arguments of vLLM; `{models}` is the folder of all models.
        names: served names.
        listed: further names that `/v1/models` lists.
        engines: data-parallel engines.
    """

    name: str
    model: str
    path: str
    request: tuple[str, dict[str, Any]]
    arguments: tuple[str, ...] = ()
    names: tuple[str, ...] = ("m",)
    listed: tuple[str, ...] = ()
    engines: int = 1

    def __str__(self) -> str:
        return self.name


def _png(size: int = 56) -> str:
    """Return a PNG of one colour as a data URL."""
    rows = (b"\0" + b"\x80\x20\x10" * size) * size
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


def _chat(model: str, *parts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    content = [*parts, {"type": "text", "text": "Hi"}]
    return "/v1/chat/completions", {
        "model": model,
        "max_tokens": 2,
        "messages": [{"role": "user", "content": content}],
    }


KINDS = (
    EngineKind(
        "data-parallel",
        "tiny",
        "/v1/completions",
        _chat("m"),
        arguments=("--max-model-len", "512", "--data-parallel-size", "2", "--api-server-count", "2"),
        engines=2,
    ),
    EngineKind(
        "adapters",
        "tiny",
        "/v1/completions",
        _chat(ADAPTER),
        arguments=(
            *("--max-model-len", "512", "--enable-lora", "--lora-modules", f"{ADAPTER}={{models}}/{ADAPTER}"),
            *("--root-path", "/team/models"),
        ),
        names=("first", "second/name"),
        listed=(ADAPTER,),
    ),
    EngineKind(
        "vision",
        "vision",
        "/v1/completions",
        _chat("m", {"type": "image_url", "image_url": {"url": _png()}}),
        arguments=("--max-model-len", "512"),
    ),
    EngineKind("embedding", "embedding", "/v1/embeddings", ("/v1/embeddings", {"model": "m", "input": ["a", "b"]})),
    EngineKind("classifier", "classifier", "/pooling", ("/classify", {"model": "m", "input": "a"})),
    EngineKind(
        "cross-encoder",
        "cross-encoder",
        "/pooling",
        ("/score", {"model": "m", "text_1": "a", "text_2": ["b", "c"]}),
    ),
    EngineKind("audio", "whisper", "/v1/audio/transcriptions", ("/v1/audio/transcriptions", {})),
)
