"""The HTTP session to a collector, which may be slow, dead or hostile."""

from __future__ import annotations

from typing import Any

import requests

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
"""Longest silence of a collector. It delays the thread that sends, never the event loop."""


class CollectorSession(requests.Session):
    """A session that reads the status of an answer, and nothing of its body.

    It follows no redirect, and takes neither proxies nor passwords from the environment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request; the answer has an empty body."""
        options |= {"stream": True, "allow_redirects": False, "timeout": (CONNECT_SECONDS, ANSWER_SECONDS)}
        response = super().send(request, **options)
        # The connection is not used again: bytes that were not read would be taken for the next answer.
        response.close()
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = response.status_code, response.url, request
        answer._content = b""
        return answer
