"""The requests of a batch: what callers may pass, and the lines of OpenAI's batch input format."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, Unpack

import orjson

from vllm_operator.client.batch.errors import InvalidBatchRequest
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.messages import ChatMessage, Messages, as_json
from vllm_operator.client.options import CallOptions, ChatOptions, CompletionOptions, body_of

CHAT_URL = "/v1/chat/completions"
COMPLETIONS_URL = "/v1/completions"
EMBEDDINGS_URL = "/v1/embeddings"
URLS = (CHAT_URL, COMPLETIONS_URL, EMBEDDINGS_URL, "/v1/score", "/score", "/v1/rerank", "/rerank", "/v2/rerank")
"""Paths that a batch may call. No other one gets the API key."""
MAX_CUSTOM_ID_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a batch."""

    body: Mapping[str, Any] = field(repr=False)
    """The JSON to send. Without `model`, the client's model is used."""
    url: str = CHAT_URL
    custom_id: str | None = None
    """Name of the request in the results file. Without one, URL and body name it."""
    is_complete: bool = False
    """The body is sent as it is; only a missing model is added. Otherwise the client's defaults are added as well."""

    @classmethod
    def chat(cls, messages: Messages, *, custom_id: str | None = None, **options: Unpack[ChatOptions]) -> Self:
        """Return a chat, with the options of `AsyncVLLMClient.chat`."""
        body = {"messages": as_json(messages), **_body(ChatOptions, options)}
        return cls(body, CHAT_URL, custom_id)

    @classmethod
    def completion(
        cls, prompt: str | Sequence[int], *, custom_id: str | None = None, **options: Unpack[CompletionOptions]
    ) -> Self:
        """Return a completion of a text or of tokens."""
        return cls({"prompt": prompt, **_body(CompletionOptions, options)}, COMPLETIONS_URL, custom_id)

    @classmethod
    def embeddings(
        cls, input: str | Sequence[str], *, custom_id: str | None = None, **options: Unpack[CallOptions]
    ) -> Self:
        """Return a request for the vectors of texts."""
        return cls({"input": input, **_body(CallOptions, options)}, EMBEDDINGS_URL, custom_id)


def check_input(requests: object) -> None:
    """Raise a TypeError for what is one request, and no series of them: its parts would be sent one by one."""
    if isinstance(requests, str | bytes | Mapping | ChatMessage | BatchRequest):
        raise TypeError(f"requests: a {type(requests).__name__} is one request: put it into a list")
    if not isinstance(requests, Iterable | AsyncIterable):
        raise TypeError(f"requests: a {type(requests).__name__} is no series of requests: pass a list or an iterator")


def as_request(item: object, config: ClientConfig) -> BatchRequest:
    """Return the request that a caller passed, complete with the defaults of the client.

    Raises:
        InvalidBatchRequest: it is no request. The message names the field.
    """
    try:
        request = _as_request(item)
    except (TypeError, ValueError) as error:
        raise InvalidBatchRequest(str(error)) from error
    _check(request)
    return BatchRequest(_with_defaults(request, config), request.url, request.custom_id, is_complete=True)


def parse_input_line(line: bytes) -> BatchRequest:
    """Return the request of a line of OpenAI's batch input format.

    Raises:
        InvalidBatchRequest: the line is no request. The message names the field.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidBatchRequest(f"it is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidBatchRequest(f"it is a JSON {type(value).__name__}: write an object with custom_id, url and body")
    request = _from_input_format(value)
    if request.custom_id is None:
        raise InvalidBatchRequest("custom_id is missing: give each request a name that is unique in the file")
    _check(request)
    return request


def _with_defaults(request: BatchRequest, config: ClientConfig) -> dict[str, Any]:
    """Return the body with the client's model, and with its defaults unless the body is complete."""
    body = dict(request.body)
    if not body.get("model") and config.model is not None:
        body["model"] = config.model
    if not request.is_complete and request.url in (CHAT_URL, COMPLETIONS_URL):
        body = {**body_of(ChatOptions, {}, config), **body}
    return body


def _body(kind: type[CallOptions], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of options. A batch has one timeout and one set of headers: those of the client."""
    for name in ("timeout", "extra_headers"):
        if name in options:
            raise TypeError(f"{name} is not an option of a request in a batch: set it in the client's configuration")
    model = {"model": options["model"]} if options.get("model") else {}
    return {**model, **body_of(kind, options), **(options.get("extra_body") or {})}


def _as_request(item: object) -> BatchRequest:
    """Return the request that a caller passed."""
    if isinstance(item, BatchRequest):
        return item
    if isinstance(item, Mapping):
        return _from_mapping(item)
    if isinstance(item, str | ChatMessage) or (isinstance(item, Sequence) and not isinstance(item, bytes)):
        return BatchRequest({"messages": as_json(item)})
    raise TypeError(f"a {type(item).__name__} is no request: pass a text, messages, a dict or a BatchRequest")


def _from_mapping(item: Mapping[Any, Any]) -> BatchRequest:
    """Return the request of a body, or of a line of the input format."""
    if "body" in item:
        return _from_input_format(item)
    for name, url in (("messages", CHAT_URL), ("prompt", COMPLETIONS_URL), ("input", EMBEDDINGS_URL)):
        if name in item:
            return BatchRequest(item, url, is_complete=True)
    if "role" in item:
        raise TypeError("it is one message: put it into a list")
    raise TypeError("it has none of the fields messages, prompt, input and body: pass the body of a request")


def _from_input_format(value: Mapping[Any, Any]) -> BatchRequest:
    """Return the request of an object of OpenAI's input format."""
    body, custom_id = value.get("body"), value.get("custom_id")
    if not isinstance(body, Mapping):
        raise InvalidBatchRequest("body is missing or no object: it holds what is sent, such as messages")
    if value.get("method", "POST") != "POST":
        raise InvalidBatchRequest(f"method is {value['method']!r}: only POST is known")
    if custom_id is not None and not isinstance(custom_id, str):
        raise InvalidBatchRequest(f"custom_id is a {type(custom_id).__name__}: write a string")
    return BatchRequest(body, value.get("url", CHAT_URL), custom_id, is_complete=True)


def _check(request: BatchRequest) -> None:
    """Raise an InvalidBatchRequest for a request that cannot be part of a batch."""
    if request.url not in URLS:
        raise InvalidBatchRequest(f"url is {request.url!r}: use one of {', '.join(URLS)}")
    if not isinstance(request.body, Mapping):
        raise InvalidBatchRequest("body is no object: it holds what is sent, such as messages")
    if request.body.get("stream"):
        raise InvalidBatchRequest("body.stream is true: the answers of a batch are not streamed; leave it out")
    name = request.custom_id
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= MAX_CUSTOM_ID_CHARACTERS):
        raise InvalidBatchRequest(f"custom_id must have 1 to {MAX_CUSTOM_ID_CHARACTERS} characters")
    if name is not None and not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidBatchRequest("custom_id has half of a surrogate pair, which is no text") from None


BatchItem = BatchRequest | Messages | Mapping[str, Any]
"""An item of a batch: a request, a text, messages, the body of a request, or a line of OpenAI's input format."""
