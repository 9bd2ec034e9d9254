"""Requests of many clients at once, some of which share the beginning of their prompts."""

from __future__ import annotations

import itertools
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

SHARED = "You are a helpful assistant of a bank. Answer briefly, and never name other customers. " * 2
"""Beginning of half of the prompts, which the prefix cache keeps."""

MAX_TOKENS = (16, 48, 96)
ANSWER_SECONDS = 120.0


@contextmanager
def load(url: str, model: str, clients: int) -> Iterator[list[int]]:
    """Send requests from a number of clients for the length of the block.

    Args:
        url: base URL of a server.
        model: name of the model.
        clients: number of clients; each has one request at a time.

    Returns:
        A list that grows by the status of each answer; 0 stands for none.
    """
    answers: list[int] = []
    over = threading.Event()
    threads = [threading.Thread(target=_client, args=(url, model, n, over, answers)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _client(url: str, model: str, number: int, over: threading.Event, answers: list[int]) -> None:
    for turn in itertools.count():
        if over.is_set():
            return
        prompt = f"{SHARED if turn % 2 else ''}Customer {number}, question {turn}"
        answers.append(_complete(url, model, prompt, MAX_TOKENS[turn % len(MAX_TOKENS)]))
        if answers[-1] != 200:
            over.wait(1.0)


def _complete(url: str, model: str, prompt: str, tokens: int) -> int:
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
