"""Read a model's config.json and the headers of its safetensors files: from a folder, a file or the Hugging Face Hub.

This is the only module of the package with I/O. Each read is bounded in bytes and in time.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_operator.sizing.known_models import known_model
from vllm_operator.sizing.safetensors_header import LENGTH_BYTES, HeaderError, header_length

MAX_CONFIG_BYTES = 16 << 20
"""Largest config.json. The largest published one, with a list of quantized layers, has 3 MB."""

MAX_FILES = 2_000
"""Safetensors files of a checkpoint. The largest published ones have fewer than 300."""

TIMEOUT_SECONDS = 20.0
"""Seconds that one request to the Hub may take."""

HUB = "https://huggingface.co"

_MODEL = re.compile(r"(?:hf://)?([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,128}))?")


class SourceError(ValueError):
    """A model that cannot be read; the message names the file or URL and the way out."""


@dataclass(frozen=True)
class LoadedModel:
    """A model as it was read.

    Attributes:
        name: what the user wrote.
        config: the config.json, with the quantization of hf_quant_config.json.
        headers: headers of the safetensors files; empty when there are none.
        origin: where the config.json is from: a path, a URL, or the table of the package.
    """

    name: str
    config: Mapping[str, Any]
    headers: tuple[bytes, ...]
    origin: str


def read_model(source: str, token: str | None = None) -> LoadedModel:
    """Return a model from a config.json, a folder, or the name of a model on the Hub.

    Args:
        source: path of a file or folder, `hf://owner/name[@revision]`, or `owner/name` of a well-known model.
        token: token for the Hub; HF_TOKEN by default. A well-known model is not looked up on the Hub.

    Raises:
        SourceError: nothing was found, or it is no config.json.
    """
    path = Path(source)
    if not source.startswith("hf://") and path.exists():
        return _read_folder(source, path) if path.is_dir() else _read_file(source, path)
    match = _MODEL.fullmatch(source)
    if match is None:
        raise SourceError(f"{source[:200]}: no such file or folder, and no hf://owner/name")
    if (known := known_model(match[1])) is not None:
        return LoadedModel(source, known.config, (), known.source)
    return _read_hub(source, match[1], match[2] or "main", token or os.environ.get("HF_TOKEN"))


def _read_file(source: str, path: Path) -> LoadedModel:
    config = _with_quantization(_parse(_read(path, MAX_CONFIG_BYTES), source), path.with_name("hf_quant_config.json"))
    return LoadedModel(source, config, (), str(path))


def _read_folder(source: str, path: Path) -> LoadedModel:
    file = path / "config.json"
    if not file.is_file():
        raise SourceError(f"{source[:200]}: the folder has no config.json")
    config = _with_quantization(_parse(_read(file, MAX_CONFIG_BYTES), str(file)), path / "hf_quant_config.json")
    files = sorted(path.glob("*.safetensors"))[:MAX_FILES]
    return LoadedModel(source, config, tuple(_read_header(item) for item in files), str(file))


def _with_quantization(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """Add the quantization of NVIDIA's ModelOpt, which lies in a separate file."""
    if "quantization_config" in config or not file.is_file():
        return config
    return {**config, "quantization_config": _parse(_read(file, MAX_CONFIG_BYTES), str(file))}


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    if len(data) > limit:
        raise SourceError(f"{path}: larger than {limit} bytes, so it is no config.json")
    return data


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(header_length(stream.read(LENGTH_BYTES)))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    except HeaderError as error:
        raise SourceError(f"{path}: {error}") from error


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name[:200]}: no JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise SourceError(f"{name[:200]}: no JSON object")
    return document


def _read_hub(source: str, model: str, revision: str, token: str | None) -> LoadedModel:
    base = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    prefix = f"{base}/{model}/resolve/{urllib.parse.quote(revision, safe='')}"
    config = _parse(_fetch(f"{prefix}/config.json", token, MAX_CONFIG_BYTES), source)
    if "quantization_config" not in config and (text := _optional(f"{prefix}/hf_quant_config.json", token)):
        config["quantization_config"] = _parse(text, f"{prefix}/hf_quant_config.json")
    return LoadedModel(source, config, tuple(_hub_headers(prefix, token)), f"{prefix}/config.json")


def _hub_headers(prefix: str, token: str | None) -> Iterator[bytes]:
    index = _optional(f"{prefix}/model.safetensors.index.json", token)
    if index is None:
        names = ["model.safetensors"] if _optional(f"{prefix}/model.safetensors", token, (0, LENGTH_BYTES - 1)) else []
    else:
        weights = _parse(index, f"{prefix}/model.safetensors.index.json").get("weight_map")
        names = sorted({str(name) for name in weights.values()}) if isinstance(weights, dict) else []
    for name in names[:MAX_FILES]:
        url = f"{prefix}/{urllib.parse.quote(name)}"
        length = header_length(_fetch(url, token, LENGTH_BYTES, (0, LENGTH_BYTES - 1)))
        yield _fetch(url, token, length, (LENGTH_BYTES, LENGTH_BYTES + length - 1))


def _optional(url: str, token: str | None, span: tuple[int, int] | None = None) -> bytes | None:
    try:
        return _fetch(url, token, MAX_CONFIG_BYTES, span)
    except SourceError:
        return None


def _fetch(url: str, token: str | None, limit: int, span: tuple[int, int] | None = None) -> bytes:
    """Return a file of the Hub, or a part of it.

    Raises:
        SourceError: the Hub cannot be reached, refuses, or the file is too large.
    """
    request = urllib.request.Request(url)
    if token:
        # A redirect to another host does not receive it: urllib drops unredirected headers.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if span:
        request.add_header("Range", f"bytes={span[0]}-{span[1]}")
    if not url.startswith(("https://", "http://")):
        raise SourceError(f"{url[:200]}: no URL of a Hub; check HF_ENDPOINT")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            data: bytes = answer.read(limit + 1)
    except urllib.error.HTTPError as error:
        raise SourceError(f"{url}: HTTP {error.code}{_HINTS.get(error.code, '')}") from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{url}: {getattr(error, 'reason', error)}; without a network, give the model's config.json as --config"
        ) from error
    if len(data) > limit and span is None:
        raise SourceError(f"{url}: larger than {limit} bytes")
    return data[:limit]


_HINTS = {
    401: ": the model is gated or does not exist; set HF_TOKEN",
    403: ": the token has no access to the model; accept its licence on the Hub",
    404: ": no such model, revision or file",
}
