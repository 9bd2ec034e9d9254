"""Clients of a replica, as threads of this process: they reach the pod by its address."""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

VOCABULARY = range(10, 500)
TIMEOUT_SECONDS = 300.0


@dataclass
class Traffic:
    """Requests for completions; how they end is counted by their HTTP status, 0 for no answer."""

    address: str
    prompt_tokens: int = 20
    answer_tokens: int = 50
    counts: Counter[int] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def from_clients(self, number: int, pause: Callable[[], float] = lambda: 0.0) -> Iterator[Traffic]:
        """Let clients ask again and again, each after `pause()` seconds, until the end of the block or `stop`."""
        for _ in range(number):
            threading.Thread(target=self._client, args=(pause,), daemon=True).start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Let no client ask again; requests under way end by themselves."""
        self._over.set()

    def _client(self, pause: Callable[[], float]) -> None:
        while not self._over.is_set():
            self.counts[self.ask()] += 1
            self._over.wait(pause() or 0.05)

    def ask(self) -> int:
        """Send one request with a prompt that was never sent before; return its status."""
        body = {
            "model": "tiny",
            "prompt": random.choices(VOCABULARY, k=self.prompt_tokens),
            "max_tokens": self.answer_tokens,
            "ignore_eos": True,
        }
        request = urllib.request.Request(
            f"http://{self.address}:8000/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
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
