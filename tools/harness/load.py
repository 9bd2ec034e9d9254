"""Requests of many clients at once, as threads of this process; their prompts are chosen by the caller."""

from __future__ import annotations

import itertools
import json
import math
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ANSWER_SECONDS = 300.0
"""Seconds until a client gives up a request."""
FAILURE_SECONDS = 1.0
"""Pause after a failed request, so that a replica that refuses all is not flooded."""
NO_PAUSE_SECONDS = 0.05

SHARED = "You are a helpful assistant of a bank. Answer briefly, and never name other customers. " * 2
"""Beginning of half of the prompts of `customers`, which the prefix cache keeps."""
LENGTHS = (16, 48, 96)
"""Tokens of the answers to `customers`."""
VOCABULARY = range(10, 500)
"""Tokens that every tokenizer of the tests has."""


@dataclass(frozen=True)
class Prompt:
    """One request: a text or a list of tokens, and the length of its answer in tokens."""

    prompt: str | list[int]
    max_tokens: int


Prompts = Callable[[int, int], Prompt]
"""(number of the client, number of its request) -> the request."""


def customers(client: int, turn: int) -> Prompt:
    """Return a short text; every other one begins as many do."""
    text = f"{SHARED if turn % 2 else ''}Customer {client}, question {turn}"
    return Prompt(text, LENGTHS[turn % len(LENGTHS)])


def unshared(prompt_tokens: int = 20, answer_tokens: int = 50) -> Prompts:
    """Return prompts of random tokens: none shares a beginning with another one."""

    def prompt(_client: int, _turn: int) -> Prompt:
        return Prompt(random.choices(VOCABULARY, k=prompt_tokens), answer_tokens)

    return prompt


@dataclass
class Load:
    """Requests for completions.

    Attributes:
        url: base URL of a replica or a server.
        model: name of the model.
        prompts: makes each request.
        pause: seconds that a client waits after an answer; a failure lasts at least FAILURE_SECONDS.
        counts: answers by their HTTP status, 0 for no answer.
    """

    url: str
    model: str
    prompts: Prompts = customers
    pause: Callable[[], float] = lambda: 0.0
    counts: Counter[int] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def from_clients(self, number: int) -> Iterator[Load]:
        """Let clients send one request after another, until the end of the block or `stop`; wait for none."""
        for client in range(number):
            threading.Thread(target=self._client, args=(client,), daemon=True).start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Let no client send another request; requests under way end by themselves."""
        self._over.set()

    @property
    def total(self) -> int:
        """Return the number of requests that ended."""
        return sum(self.counts.values())

    def _client(self, client: int) -> None:
        for turn in itertools.count():
            if self._over.is_set():
                return
            status = self.send(self.prompts(client, turn))
            self.counts[status] += 1
            least = NO_PAUSE_SECONDS if status == 200 else FAILURE_SECONDS
            self._over.wait(max(self.pause(), least))

    def send(self, prompt: Prompt) -> int:
        """Send one request; return its status, 0 for no answer."""
        body = {"model": self.model, "prompt": prompt.prompt, "max_tokens": prompt.max_tokens, "ignore_eos": True}
        request = urllib.request.Request(
            f"{self.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def wave(period_seconds: float = 300.0, calm: float = 4.0, busy: float = 0.5) -> Callable[[], float]:
    """Return a pause that swings between a calm and a busy one, as the load of a day does."""
    start = time.monotonic()

    def pause() -> float:
        height = (1 - math.cos(2 * math.pi * (time.monotonic() - start) / period_seconds)) / 2
        return calm + (busy - calm) * height

    return pause
