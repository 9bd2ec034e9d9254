"""The smallest request that reaches the engine, for each kind of model that vLLM serves.

vLLM answers 404 for the paths of other kinds (400 before 0.21), so the paths are tried in turn until one is served.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import orjson

from vllm_operator.probing.http import Content

SAMPLES = 1600
"""Samples of silence in the audio, a tenth of a second: Whisper pads every audio to 30 s in any case."""
SAMPLE_RATE = 16_000
"""Samples of audio in a second: the rate of Whisper, so that nothing is resampled."""
BOUNDARY = "vllm-operator-synthetic-completion"
"""Separates the fields of a form."""

NOT_SERVED = frozenset({400, 404, 405, 501})
"""HTTP statuses of a path, or of a kind of request, that a model does not serve."""


def smallest_requests(model: str) -> Iterator[tuple[str, Content]]:
    """Yield path and body of the smallest requests: generation, embedding, other pooling, transcription.

    Args:
        model: served name.
    """
    yield "/v1/completions", _json({"model": model, "prompt": "Hi", "max_tokens": 1, "temperature": 0})
    yield "/v1/embeddings", _json({"model": model, "input": "Hi"})
    yield "/pooling", _json({"model": model, "input": "Hi"})
    yield "/classify", _json({"model": model, "input": "Hi"})
    yield "/v1/audio/transcriptions", _form({"model": model, "language": "en", "max_completion_tokens": "1"})


def _json(value: Mapping[str, Any]) -> Content:
    return Content(orjson.dumps(value))


def _form(fields: Mapping[str, str]) -> Content:
    """Return a form with the silence as its file."""
    lines: Callable[[str, str], str] = (
        f"--{BOUNDARY}\r\ncontent-disposition: form-data; name={{}}\r\n\r\n{{}}\r\n".format
    )
    values = "".join(lines(f'"{name}"', value) for name, value in fields.items())
    file = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="silence.wav"\r\n'
    head = f"{values}{file}content-type: audio/wav\r\n\r\n".encode()
    return Content(head + silence() + f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}")


@cache
def silence() -> bytes:
    """Return a WAV file of silence: one channel of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE)
        audio.writeframes(bytes(2 * SAMPLES))
    return file.getvalue()
