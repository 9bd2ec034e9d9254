"""The client for synchronous code: the asynchronous one, with its event loop in a thread."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import ClientClosed
from vllm_operator.client.hooks import Observer
from vllm_operator.client.loop_thread import LoopThread
from vllm_operator.client.messages import Messages
from vllm_operator.client.options import CallOptions, ChatOptions, CompletionOptions
from vllm_operator.client.responses import (
    CompletionResponse,
    Delta,
    EmbeddingResponse,
    HealthReport,
    ModelInfo,
    RerankResponse,
    ScoreResponse,
    TokenizeResponse,
)
from vllm_operator.client.stream import AsyncCompletionStream

T = TypeVar("T")


class CompletionStream:
    """A streamed answer: iterate over it, then read `response`. Leaving it early ends the request of the engine."""

    def __init__(self, stream: AsyncCompletionStream, thread: LoopThread, owner: object = None) -> None:
        self._stream = stream
        self._thread = thread
        # A client that is freed ends its thread.
        self._owner = owner
        self._ready: list[Delta] = []

    @property
    def response(self) -> CompletionResponse:
        """The whole answer, with its usage. Raises StreamInterrupted before the end of the stream."""
        return self._stream.response

    @property
    def content(self) -> str:
        """The text of the first choice so far."""
        return self._stream.content

    def collect(self) -> CompletionResponse:
        """Read the rest of the stream, and return the whole answer."""
        self._ready.clear()
        return self._thread.run(self._stream.collect())

    def close(self) -> None:
        """End the stream: before its end, the connection is closed and the engine ends the request."""
        with contextlib.suppress(ClientClosed):
            self._thread.run(self._stream.aclose())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delta:
        if not self._ready:
            self._ready = self._thread.run(self._stream.next_batch())[::-1]
            if not self._ready:
                raise StopIteration
        return self._ready.pop()

    def __enter__(self) -> Self:
        self._thread.run(self._opened())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _opened(self) -> None:
        await self._stream.open()


class VLLMClient:
    """A client of one or several vLLM servers. Any number of threads may share one: it keeps its connections.

    Args:
        config: the configuration, or a base URL.
        model: name of the model instead of the configuration's.
        observers: receive what happens to requests, such as metrics. They are called in the client's thread.
    """

    def __init__(
        self, config: ClientConfig | str | None = None, *, model: str | None = None, observers: Iterable[Observer] = ()
    ) -> None:
        self._observers = tuple(observers)
        self._client = AsyncVLLMClient(config, model=model, observers=self._observers)
        self.config = self._client.config
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._process = os.getpid()
        self._closed = False
        self._finalizer: weakref.finalize[..., VLLMClient] | None = None
        self._close_way: Callable[[], None] | None = None

    @classmethod
    def for_server(
        cls,
        reference: str,
        config: ClientConfig | None = None,
        *,
        kubeconfig: str | Path | None = None,
        context: str | None = None,
        observers: Iterable[Observer] = (),
    ) -> Self:
        """Return a client of a VLLMServer: in its cluster by its endpoint, from outside by a port-forward.

        The API key comes from the Secret that the VLLMServer names, unless `config` has one.

        Args:
            reference: `NAMESPACE/NAME`, or the name in the current namespace.
            config: other settings than address and API key.
            kubeconfig: file in place of KUBECONFIG, and of the cluster of this pod.
            context: context in place of the current one.
            observers: receive what happens to requests, such as metrics.

        Raises:
            DiscoveryFailed: there is no such server, or it cannot be read.
            ModelNotReady: no replica serves.
        """
        from vllm_operator.client.discovery import find_server

        found = find_server(reference, config, kubeconfig=kubeconfig, context=context)
        client = cls(found.config, observers=observers)
        client._close_way = found.close
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Requests under way end with an error."""
        with self._lock:
            self._closed = True
            self._thread = None
        if self._finalizer is not None and self._process == os.getpid():
            self._finalizer()
        if self._close_way is not None and self._process == os.getpid():
            close_way, self._close_way = self._close_way, None
            close_way()

    def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> CompletionResponse:
        """Return the model's answer to a conversation.

        Args:
            messages: a text of the user, or the messages so far.
            options: options of the request, such as `temperature` and `tools`.

        Raises:
            VLLMClientError: there is no answer; its class says why.
        """
        return self._run(lambda: self._client.chat(messages, **options))

    def stream_chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> CompletionStream:
        """Return the model's answer to a conversation, piece by piece.

        Use it as `for delta in client.stream_chat(...)`, or with `with` when you may leave it early.
        """
        thread = self._running()
        return CompletionStream(self._client.stream_chat(messages, **options), thread, self)

    def completions(self, prompt: str | Sequence[int], **options: Unpack[CompletionOptions]) -> CompletionResponse:
        """Return the model's continuation of a text, or of tokens."""
        return self._run(lambda: self._client.completions(prompt, **options))

    def stream_completions(self, prompt: str | Sequence[int], **options: Unpack[CompletionOptions]) -> CompletionStream:
        """Return the model's continuation of a text, or of tokens, piece by piece."""
        thread = self._running()
        return CompletionStream(self._client.stream_completions(prompt, **options), thread, self)

    def embeddings(self, input: str | Sequence[str], **options: Unpack[CallOptions]) -> EmbeddingResponse:
        """Return the vector of each text."""
        return self._run(lambda: self._client.embeddings(input, **options))

    def rerank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, **options: Unpack[CallOptions]
    ) -> RerankResponse:
        """Return documents in the order of their relevance for a query; `top_n` of them if it is given."""
        return self._run(lambda: self._client.rerank(query, documents, top_n=top_n, **options))

    def score(
        self, text_1: str | Sequence[str], text_2: str | Sequence[str], **options: Unpack[CallOptions]
    ) -> ScoreResponse:
        """Return the score of each pair of texts: one with each of the others, or two lists in pairs."""
        return self._run(lambda: self._client.score(text_1, text_2, **options))

    def tokenize(self, text: str | Messages, **options: Unpack[CallOptions]) -> TokenizeResponse:
        """Return the tokens of a text, or of a conversation with its chat template."""
        return self._run(lambda: self._client.tokenize(text, **options))

    def detokenize(self, tokens: Sequence[int], **options: Unpack[CallOptions]) -> str:
        """Return the text of tokens."""
        return self._run(lambda: self._client.detokenize(tokens, **options))

    def models(self, **options: Unpack[CallOptions]) -> tuple[ModelInfo, ...]:
        """Return the models that the server offers; adapters come after their base models."""
        return self._run(lambda: self._client.models(**options))

    def version(self, **options: Unpack[CallOptions]) -> str:
        """Return the version of vLLM."""
        return self._run(lambda: self._client.version(**options))

    def health(self, timeout: float = 10.0) -> tuple[HealthReport, ...]:
        """Return whether each endpoint is healthy, and which models it lists. A check that fails is a result, no error.

        An engine that is stalled passes this check: only a completion shows it.
        """
        return self._run(lambda: self._client.health(timeout))

    def wait_until_ready(self, timeout: float = 300.0) -> ModelInfo:
        """Wait until an endpoint is healthy and lists the model, and return that model.

        Args:
            timeout: seconds to wait. Large models take many minutes to load.

        Raises:
            ModelNotReady: no endpoint is ready within the timeout.
            AuthenticationFailed: the API key is wrong: waiting does not help.
        """
        return self._run(lambda: self._client.wait_until_ready(timeout))

    def run(self, make: Callable[[AsyncVLLMClient], Coroutine[Any, Any, T]]) -> T:
        """Return the result of a coroutine that uses the asynchronous client behind this one."""
        return self._run(lambda: make(self._client))

    def _run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        thread = self._running()
        return thread.run(make())

    def _running(self) -> LoopThread:
        """Return the thread of the event loop. A process that was forked gets its own, with its own connections."""
        thread = self._thread
        if thread is not None and self._process == os.getpid():
            return thread
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed: make a new one")
            if self._process != os.getpid():
                self._process, self._thread = os.getpid(), None
                self._client = AsyncVLLMClient(self.config, observers=self._observers)
            if self._thread is None:
                self._thread = LoopThread()
                # A client that nobody closes is closed when it is freed, or when the program ends.
                self._finalizer = weakref.finalize(self, _stop, self._thread, self._client, os.getpid())
            return self._thread


def _stop(thread: LoopThread, client: AsyncVLLMClient, process: int) -> None:
    """Close a client in its thread, and end that thread. A forked process has a copy of neither."""
    if os.getpid() == process:
        thread.stop(client.aclose)
