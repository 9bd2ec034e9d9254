"""The messages of a chat, parts of a message, tools and calls of tools."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "developer", "user", "assistant", "tool"]
MAX_ATTACHMENT_BYTES = 64 * 1024 * 1024
"""Bytes of a file that becomes a part of a message."""


class RequestPart(BaseModel):
    """A frozen part of a request; fields that this library does not know are sent as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")


class TextPart(RequestPart):
    """A text within a message."""

    type: Literal["text"] = "text"
    text: str


class ImageUrl(RequestPart):
    """Address of an image: an http(s) URL, or a `data:` URL that holds it."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(RequestPart):
    """An image within a message."""

    type: Literal["image_url"] = "image_url"
    image_url: ImageUrl

    @classmethod
    def from_url(cls, url: str, detail: Literal["auto", "low", "high"] | None = None) -> Self:
        """Return a part with an image that the server downloads."""
        return cls(image_url=ImageUrl(url=url, detail=detail))

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Return a part that holds the image of a file."""
        return cls(image_url=ImageUrl(url=_data_url(Path(path), "image/png")))

    @classmethod
    def from_bytes(cls, data: bytes, mime_type: str = "image/png") -> Self:
        """Return a part that holds an image."""
        return cls(image_url=ImageUrl(url=f"data:{mime_type};base64,{base64.b64encode(data).decode()}"))


class InputAudio(RequestPart):
    """A recording, in base64."""

    data: str
    format: Literal["wav", "mp3"] = "wav"


class AudioPart(RequestPart):
    """A recording within a message."""

    type: Literal["input_audio"] = "input_audio"
    input_audio: InputAudio

    @classmethod
    def from_bytes(cls, data: bytes, format: Literal["wav", "mp3"] = "wav") -> Self:
        """Return a part that holds a recording."""
        return cls(input_audio=InputAudio(data=base64.b64encode(data).decode(), format=format))

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Return a part that holds the recording of a `.wav` or `.mp3` file."""
        kind = Path(path).suffix.lower()
        if kind not in (".wav", ".mp3"):
            raise ValueError(f"{path}: the format {kind or 'without a suffix'} is not known; use a .wav or .mp3 file")
        return cls.from_bytes(_bounded_file(Path(path)), "mp3" if kind == ".mp3" else "wav")


ContentPart = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class FunctionCall(RequestPart):
    """The function that a model calls, and its arguments as JSON text."""

    name: str = ""
    arguments: str = ""


class ToolCall(RequestPart):
    """A call of a tool by the model."""

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall = FunctionCall()


class ChatMessage(RequestPart):
    """One message of a conversation."""

    role: Role
    content: str | tuple[ContentPart, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None

    @classmethod
    def system(cls, content: str) -> Self:
        """Return a message of the system."""
        return cls(role="system", content=content)

    @classmethod
    def user(cls, *content: str | TextPart | ImagePart | AudioPart) -> Self:
        """Return a message of the user: a text, or several parts."""
        if len(content) == 1 and isinstance(content[0], str):
            return cls(role="user", content=content[0])
        return cls(role="user", content=tuple(TextPart(text=x) if isinstance(x, str) else x for x in content))

    @classmethod
    def assistant(cls, content: str | None = None, *, tool_calls: Iterable[ToolCall] | None = None) -> Self:
        """Return a message of the model."""
        return cls(role="assistant", content=content, tool_calls=None if tool_calls is None else tuple(tool_calls))

    @classmethod
    def tool(cls, content: str, tool_call_id: str) -> Self:
        """Return the result of a call of a tool."""
        return cls(role="tool", content=content, tool_call_id=tool_call_id)


Messages = str | ChatMessage | Sequence[ChatMessage | Mapping[str, Any]]
"""The messages of a call: a text of the user, one message, or those of a conversation, also as OpenAI's dicts."""


def as_json(messages: Messages) -> list[dict[str, Any]]:
    """Return messages as the objects that the API takes.

    Raises:
        ValueError: there is no message.
        TypeError: something is no message.
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, ChatMessage):
        return [messages.model_dump(mode="json", exclude_none=True)]
    if not isinstance(messages, list | tuple) and isinstance(messages, Mapping):
        raise TypeError("messages is one dict: put it into a list")
    if not messages:
        raise ValueError("messages is empty: give at least one message")
    return [_message_as_json(index, message) for index, message in enumerate(messages)]


def _message_as_json(index: int, message: ChatMessage | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(message, ChatMessage):
        return message.model_dump(mode="json", exclude_none=True)
    if isinstance(message, dict) or isinstance(message, Mapping):  # noqa: SIM101  The first is the fast and usual one.
        if "role" not in message:
            raise ValueError(f"messages[{index}] has no role: use system, user, assistant or tool")
        return dict(message)
    raise TypeError(f"messages[{index}] is a {type(message).__name__}: use ChatMessage or a dict")


def _data_url(path: Path, default_type: str) -> str:
    kind = mimetypes.guess_type(path.name)[0] or default_type
    return f"data:{kind};base64,{base64.b64encode(_bounded_file(path)).decode()}"


def _bounded_file(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_ATTACHMENT_BYTES + 1)
    if len(data) > MAX_ATTACHMENT_BYTES:
        raise ValueError(f"{path} has more than {MAX_ATTACHMENT_BYTES:,} bytes: attach a smaller file")
    return data
