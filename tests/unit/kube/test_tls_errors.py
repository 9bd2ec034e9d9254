"""Test the messages for calls without an answer; `connection/test_authority.py` tests those of real certificates."""

from __future__ import annotations

import aiohttp

from vllm_operator.kube.tls_errors import describe_tls_error


def test_other_errors_keep_their_message() -> None:
    assert describe_tls_error(TimeoutError(), "x") == "TimeoutError"
    assert describe_tls_error(aiohttp.ServerDisconnectedError(), "x") == "Server disconnected"
