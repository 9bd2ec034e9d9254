"""The requests that test an engine, by kind of model."""

from __future__ import annotations

import email
import json
import wave
from email.message import Message
from io import BytesIO

import pytest

from vllm_operator.probing.smallest_requests import SAMPLE_RATE, SAMPLES, silence, smallest_requests

PATHS = ["/v1/completions", "/v1/embeddings", "/pooling", "/classify", "/v1/audio/transcriptions"]


def parts(name: str) -> dict[str, bytes]:
    """Return the fields of the form for a model."""
    content = dict(smallest_requests(name))["/v1/audio/transcriptions"]
    form = email.message_from_bytes(f"content-type: {content.type}\n\n".encode() + content.data)
    found: dict[str, bytes] = {}
    for part in form.get_payload():
        assert isinstance(part, Message)
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found[str(part.get_param("name", header="content-disposition"))] = payload
    return found


def test_generation_is_tried_first_and_speech_last() -> None:
    assert [path for path, _ in smallest_requests("m")] == PATHS


@pytest.mark.parametrize("path", PATHS[:-1])
def test_text_requests_are_json_of_one_token_at_most(path: str) -> None:
    content = dict(smallest_requests("ä"))[path]
    body = json.loads(content.data)

    assert content.type == "application/json"
    assert (body["model"], body.get("prompt", body.get("input")), body.get("max_tokens", 1)) == ("ä", "Hi", 1)


@pytest.mark.parametrize("name", ["whisper", "ä/b", 'a"b'])
def test_form_holds_model_and_audio(name: str) -> None:
    fields = parts(name)

    assert fields.pop("file") == silence()
    assert fields == {"model": name.encode(), "language": b"en", "max_completion_tokens": b"1"}


def test_audio_is_silence_of_a_tenth_of_a_second() -> None:
    with wave.open(BytesIO(silence())) as audio:
        assert (audio.getframerate(), audio.getnframes(), audio.getsampwidth()) == (SAMPLE_RATE, SAMPLES, 2)
        assert not any(audio.readframes(SAMPLES))
