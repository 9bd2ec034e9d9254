"""The client for asyncio."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import orjson

from vllm_operator.client import messages as chat_messages
from vllm_operator.client.answers import (
    chat_response,
    embedding_response,
    model_list,
    rerank_response,
    score_response,
    text_response,
    tokenize_response,
)
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.endpoints import EndpointLease
from vllm_operator.client.error_parsing import error_from_answer
from vllm_operator.client.errors import ClientClosed, InvalidResponse, ModelNotFound, ModelNotReady
from vllm_operator.client.executor import Call, Executor
from vllm_operator.client.health import cancel_from_any_thread, check_endpoints, first_ready_model, health_reports
from vllm_operator.client.hooks import Observer, Observers, Operation
from vllm_operator.client.messages import Messages
from vllm_operator.client.options import CallOptions, ChatOptions, CompletionOptions, body_of
from vllm_operator.client.parsing import chat_delta, describe, json_object, text_delta
from vllm_operator.client.raw_call import RawCaller
from vllm_operator.client.responses import (
    CompletionResponse,
    EmbeddingResponse,
    HealthReport,
    ModelInfo,
    RerankResponse,
    ScoreResponse,
    TokenizeResponse,
    Usage,
)
from vllm_operator.client.stream import AsyncCompletionStream, PreparedStream
from vllm_operator.client.transport import HttpRequest, Transport

T = TypeVar("T")


class AsyncVLLMClient:
    """A client of one or several vLLM servers, for asyncio. Use one for many requests: it keeps its connections.

    Args:
        config: the configuration, or a base URL.
        model: name of the model instead of the configuration's.
        observers: receive what happens to requests, such as metrics.
    """

    def __init__(
        self, config: ClientConfig | str | None = None, *, model: str | None = None, observers: Iterable[Observer] = ()
    ) -> None:
        if not isinstance(config, ClientConfig):
            config = ClientConfig() if config is None else ClientConfig(base_url=config)
        self.config = config if model is None else config.model_copy(update={"model": model})
        self._executor = Executor(self.config, Observers(observers))
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._model = self.config.model
        self._closed = False
        self._checks: asyncio.Task[None] | None = None
        self._close_way: Callable[[], None] | None = None

    @classmethod
    async def for_server(
        cls,
        reference: str,
        config: ClientConfig | None = None,
        *,
        kubeconfig: str | Path | None = None,
        context: str | None = None,
        observers: Iterable[Observer] = (),
    ) -> Self:
        """Return a client of a VLLMServer, as `VLLMClient.for_server` does."""
        from vllm_operator.client.discovery import find_server

        found = await asyncio.to_thread(find_server, reference, config, kubeconfig=kubeconfig, context=context)
        client = cls(found.config, observers=observers)
        client._close_way = found.close
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Requests under way end with an error."""
        self._closed = True
        if self._checks is not None and self._loop is asyncio.get_running_loop():
            self._checks.cancel()
            await asyncio.wait([self._checks])
        if self._transport is not None:
            if self._loop is asyncio.get_running_loop():
                await self._transport.close()
            else:
                self._transport.abandon()
        if self._close_way is not None:
            close_way, self._close_way = self._close_way, None
            await asyncio.to_thread(close_way)

    async def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> CompletionResponse:
        """Return the model's answer to a conversation.

        Args:
            messages: a text of the user, or the messages so far.
            options: options of the request, such as `temperature` and `tools`.

        Raises:
            VLLMClientError: there is no answer; its class says why.
        """
        body = {"messages": chat_messages.as_json(messages), **body_of(ChatOptions, options, self.config)}
        return await self._post("chat", "/v1/chat/completions", body, options, chat_response)

    def stream_chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> AsyncCompletionStream:
        """Return the model's answer to a conversation, piece by piece.

        Use it as `async for delta in client.stream_chat(...)`, or with `async with` when you may leave it early.
        """
        body = {"messages": chat_messages.as_json(messages), **body_of(ChatOptions, options, self.config)}
        prepare = self._prepare_stream("chat", "/v1/chat/completions", body, options)
        return AsyncCompletionStream(self._executor, prepare, chat_delta)

    async def completions(
        self, prompt: str | Sequence[int], **options: Unpack[CompletionOptions]
    ) -> CompletionResponse:
        """Return the model's continuation of a text, or of tokens."""
        body = {"prompt": prompt, **body_of(CompletionOptions, options, self.config)}
        return await self._post("completions", "/v1/completions", body, options, text_response)

    def stream_completions(
        self, prompt: str | Sequence[int], **options: Unpack[CompletionOptions]
    ) -> AsyncCompletionStream:
        """Return the model's continuation of a text, or of tokens, piece by piece."""
        body = {"prompt": prompt, **body_of(CompletionOptions, options, self.config)}
        prepare = self._prepare_stream("completions", "/v1/completions", body, options)
        return AsyncCompletionStream(self._executor, prepare, text_delta)

    async def embeddings(self, input: str | Sequence[str], **options: Unpack[CallOptions]) -> EmbeddingResponse:
        """Return the vector of each text."""
        body = {"input": input, **body_of(CallOptions, options)}
        return await self._post("embeddings", "/v1/embeddings", body, options, embedding_response)

    async def rerank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, **options: Unpack[CallOptions]
    ) -> RerankResponse:
        """Return documents in the order of their relevance for a query; `top_n` of them if it is given."""
        body = {"query": query, "documents": list(documents), **body_of(CallOptions, options)}
        if top_n is not None:
            body["top_n"] = top_n
        return await self._post("rerank", "/v1/rerank", body, options, rerank_response)

    async def score(
        self, text_1: str | Sequence[str], text_2: str | Sequence[str], **options: Unpack[CallOptions]
    ) -> ScoreResponse:
        """Return the score of each pair of texts: one with each of the others, or two lists in pairs."""
        body = {"text_1": text_1, "text_2": text_2, **body_of(CallOptions, options)}
        return await self._post("score", "/score", body, options, score_response)

    async def tokenize(self, text: str | Messages, **options: Unpack[CallOptions]) -> TokenizeResponse:
        """Return the tokens of a text, or of a conversation with its chat template."""
        body = {"prompt": text} if isinstance(text, str) else {"messages": chat_messages.as_json(text)}
        return await self._post(
            "tokenize", "/tokenize", body | body_of(CallOptions, options), options, tokenize_response
        )

    async def detokenize(self, tokens: Sequence[int], **options: Unpack[CallOptions]) -> str:
        """Return the text of tokens."""
        body = {"tokens": list(tokens), **body_of(CallOptions, options)}
        return await self._post("detokenize", "/detokenize", body, options, lambda answer, _: str(answer["prompt"]))

    async def models(self, **options: Unpack[CallOptions]) -> tuple[ModelInfo, ...]:
        """Return the models that the server offers; adapters come after their base models."""
        return await self._json("models", HttpRequest("GET", "/v1/models"), options, model_list)

    async def version(self, **options: Unpack[CallOptions]) -> str:
        """Return the version of vLLM."""
        request = HttpRequest("GET", "/version")
        return await self._json("version", request, options, lambda answer, _: str(answer["version"]))

    async def health(self, timeout: float = 10.0) -> tuple[HealthReport, ...]:
        """Return whether each endpoint is healthy, and which models it lists. A check that fails is a result, no error.

        An engine that is stalled passes this check: only a completion shows it.
        """
        return await health_reports(self._transport_now(), self.config.base_urls, self._executor.api_key, timeout)

    async def wait_until_ready(self, timeout: float = 300.0) -> ModelInfo:
        """Wait until an endpoint is healthy and lists the model, and return that model.

        Args:
            timeout: seconds to wait. Large models take many minutes to load.

        Raises:
            ModelNotReady: no endpoint is ready within the timeout.
            AuthenticationFailed: the API key is wrong: waiting does not help.
        """
        transport = self._transport_now()
        return await first_ready_model(transport, self.config, self._executor.api_key, self.config.model, timeout)

    def raw_caller(self) -> RawCaller:
        """Return what sends requests as bytes, for the transports of other libraries."""
        return RawCaller(self._executor, self._transport_now)

    async def _post(
        self,
        operation: Operation,
        path: str,
        body: dict[str, Any],
        options: Mapping[str, Any],
        parse: Callable[[dict[str, Any], Call], T],
    ) -> T:
        """Send a body with the name of the model, and return the parsed answer."""
        since = asyncio.get_running_loop().time()
        body["model"] = model = options.get("model") or self._model or await self._model_name(options)
        if "extra_body" in options:
            body.update(options["extra_body"])
        return await self._json(operation, HttpRequest("POST", path, encoded(body)), options, parse, model, since)

    async def _json(
        self,
        operation: Operation,
        request: HttpRequest,
        options: Mapping[str, Any],
        parse: Callable[[dict[str, Any], Call], T],
        model: str = "",
        since: float | None = None,
    ) -> T:
        """Send a request, and return the parsed answer."""
        transport = self._transport_now()
        own = self._executor.own_headers(options.get("extra_headers"))
        call = self._executor.start(operation, model, options.get("timeout"), since=since)
        request = request._replace(headers=self._executor.headers(call, own))

        async def send(lease: EndpointLease, fresh: bool) -> T:
            url = lease.endpoint.url
            response = await transport.send(url, request, fresh=fresh)
            if response.status != 200:
                body = await response.read_start()
                raise error_from_answer(response.status, response.headers, body, url, request.path)
            return parsed(parse, json_object(await response.read(), url), call)

        try:
            return await self._executor.run_to_end(call, send, _usage_of)
        except ModelNotFound:
            if self.config.model is None:
                self._model = None
            raise

    def _prepare_stream(
        self, operation: Operation, path: str, body: dict[str, Any], options: Mapping[str, Any]
    ) -> Callable[[], Awaitable[PreparedStream]]:
        """Return what prepares a streaming request when the stream is first read."""

        async def prepare() -> PreparedStream:
            since = asyncio.get_running_loop().time()
            model = options.get("model") or await self._model_name(options)
            stream = {"stream": True, "stream_options": {"include_usage": True}}
            content = encoded({**body, "model": model, **stream, **options.get("extra_body", {})})
            transport = self._transport_now()
            own = self._executor.own_headers(options.get("extra_headers"))
            call = self._executor.start(operation, model, options.get("timeout"), stream=True, since=since)
            return PreparedStream(
                transport, call, HttpRequest("POST", path, content, self._executor.headers(call, own))
            )

        return prepare

    async def _model_name(self, options: Mapping[str, Any]) -> str:
        """Return the configured model, or the one that the server lists first, asked with the options of a call."""
        if self._model is None:
            request = HttpRequest("GET", "/v1/models")
            models = await self._json("models", request, options, model_list)
            if not models:
                raise ModelNotReady(
                    "the server lists no model: wait until one is loaded", endpoint=self.config.base_urls[0]
                )
            self._model = models[0].id
        return self._model

    def _transport_now(self) -> Transport:
        """Return the connections of the running event loop."""
        if self._closed:
            raise ClientClosed("the client is closed: make a new one")
        loop = asyncio.get_running_loop()
        if self._transport is None or self._loop is not loop:
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError("the client is in use in another event loop: make one for each, or use VLLMClient")
            if self._transport is not None:
                self._transport.abandon()
            self._transport, self._loop = Transport(self.config), loop
            self._checks = self._start_checks(self._transport)
        return self._transport

    def _start_checks(self, transport: Transport) -> asyncio.Task[None] | None:
        """Check the health of endpoints in the background, when there are several to choose from."""
        checks, endpoints = self.config.health_checks, self._executor.pool.endpoints
        if len(endpoints) == 1 or not checks.enabled:
            return None
        coroutine = check_endpoints(transport, endpoints, checks.interval, checks.timeout)
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, name="vllm-client-health-checks")
        # A client that nobody closes must not be checked for on and on.
        weakref.finalize(self, cancel_from_any_thread, task, loop)
        return task


def _usage_of(result: object) -> Usage | None:
    return getattr(result, "usage", None)


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON.

    Raises:
        TypeError: a value has no form in JSON.
    """
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def parsed(parse: Callable[[dict[str, Any], Call], T], answer: dict[str, Any], call: Call) -> T:
    """Return an answer as a typed value.

    Raises:
        InvalidResponse: fields are missing, or of other types.
    """
    try:
        return parse(answer, call)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidResponse(
            f"{call.endpoint} answers 200 with JSON that is no answer to {call.info.operation}: {describe(error)}",
            endpoint=call.endpoint,
        ) from error
