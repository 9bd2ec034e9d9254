from __future__ import annotations

from pathlib import Path

import pytest

from vllm_operator.client import AudioPart, ChatMessage, ImagePart, TextPart, ToolCall
from vllm_operator.client.messages import FunctionCall, as_json


def test_text_is_a_message_of_the_user() -> None:
    assert as_json("Hi") == [{"role": "user", "content": "Hi"}]
    assert as_json(ChatMessage.user("Hi")) == [{"role": "user", "content": "Hi"}]


def test_messages_and_dicts_may_be_mixed() -> None:
    assert as_json([ChatMessage.system("Be brief"), {"role": "user", "content": "Hi"}]) == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Hi"},
    ]


def test_parts_become_the_parts_of_the_api() -> None:
    message = ChatMessage.user("See", ImagePart.from_bytes(b"\x89PNG"), AudioPart.from_bytes(b"RIFF"))

    assert as_json(message) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            ],
        }
    ]


def test_tool_calls_and_their_results_are_messages() -> None:
    call = ToolCall(id="call-1", function=FunctionCall(name="weather", arguments="{}"))

    assert as_json([ChatMessage.assistant(tool_calls=[call]), ChatMessage.tool("rain", "call-1")]) == [
        {
            "role": "assistant",
            "tool_calls": [{"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call-1"},
    ]


def test_files_become_parts(tmp_path: Path) -> None:
    image, sound = tmp_path / "a.jpg", tmp_path / "a.mp3"
    image.write_bytes(b"jpg")
    sound.write_bytes(b"mp3")

    assert ImagePart.from_file(image).image_url.url == "data:image/jpeg;base64,anBn"
    assert AudioPart.from_file(sound).input_audio.format == "mp3"
    assert ImagePart.from_url("https://h/a.png", "low").image_url.detail == "low"
    with pytest.raises(ValueError, match=r"format \.ogg is not known"):
        AudioPart.from_file(tmp_path / "a.ogg")


def test_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm_operator.client.messages.MAX_ATTACHMENT_BYTES", 2)
    (tmp_path / "a.png").write_bytes(b"123")

    with pytest.raises(ValueError, match="more than 2 bytes"):
        ImagePart.from_file(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("messages", "error", "reason"),
    [
        ([], ValueError, "messages is empty"),
        ([{"content": "x"}], ValueError, r"messages\[0\] has no role"),
        (["x"], TypeError, r"messages\[0\] is a str"),
        ({"role": "user", "content": "x"}, TypeError, "put it into a list"),
    ],
)
def test_wrong_messages_are_named(messages: object, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        as_json(messages)  # type: ignore[arg-type]


def test_fields_of_newer_servers_are_sent() -> None:
    assert as_json([ChatMessage(role="user", content=(TextPart(text="a", cache="x"),))])[0]["content"] == [  # type: ignore[call-arg]
        {"type": "text", "text": "a", "cache": "x"}
    ]
