"""Talk to a server of the cluster: choose a replica, open a tunnel to it, and read the API key from its Secret."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import FAILED, UNAVAILABLE, CliError
from vllm_operator.cli.options import Duration, Function
from vllm_operator.cli.sanitize import clean, clean_lines
from vllm_operator.cli.servers import field, find_server, name_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object
    from vllm_operator.cli.gathered import Gathered
    from vllm_operator.client import CompletionResponse, CompletionStream, VLLMClient

LONGEST_PROMPT = 4 * 1024 * 1024
"""Characters of a prompt that are read from standard input."""

KEY_VARIABLE = "VLLM_API_KEY"
"""Environment variable with the API key, for people who may not read the Secret."""


def request_options(function: Function) -> Function:
    """Add the options of a request; the command receives them as keyword arguments."""
    options = [
        click.option("--model", metavar="NAME", help="Served model. [default: the first one that the server lists]"),
        click.option(
            "--max-tokens",
            type=click.IntRange(1, 1_000_000),
            default=512,
            show_default=True,
            help="Tokens of the answer at most.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(0, 10),
            help="Temperature; 0 for the likeliest answer. [default: the server's own]",
        ),
        click.option("--pod", metavar="POD", help="Replica to ask. [default: one that serves]"),
        click.option(
            "--timeout",
            type=Duration(),
            default="10m",
            show_default=True,
            metavar="DURATION",
            help="Longest time for an answer.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@contextlib.contextmanager
def connected(api: Cluster, name: str, pod: str | None, model: str | None, timeout: float) -> Iterator[VLLMClient]:
    """Yield a client of a server, through a tunnel to one of its replicas.

    Raises:
        CliError: no replica serves, there is no way to it, or the server refuses the request.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.gathered import gather
    from vllm_operator.cli.tunnel import PodTunnel
    from vllm_operator.client import VLLMClient, VLLMClientError

    with console.progress(f"connecting to {name}"):
        server = find_server(api, name)
        chosen = serving_pod(gather(api, server), pod)
        key = api_key(api, server)
    with contextlib.ExitStack() as stack:
        with console.progress(f"opening a port to {name_of(chosen)}"):
            tunnel = stack.enter_context(PodTunnel(api, chosen))
        client = stack.enter_context(VLLMClient(_settings(tunnel.url, key, timeout), model=model))
        try:
            yield client
        except VLLMClientError as error:
            # The address of the tunnel says nothing to the user.
            text = clean(str(error).replace(tunnel.url, "vLLM"), 600)
            raise CliError(f"{name_of(chosen)}: {text}", FAILED) from error


def _settings(url: str, key: str, timeout: float) -> Any:
    from pydantic import SecretStr

    from vllm_operator.client import ClientConfig, RetryPolicy, Timeouts

    # Without a key of its own the server gets none: the environment's may be that of another server.
    waits = Timeouts(first_token=timeout, between_tokens=timeout, whole=timeout)
    return ClientConfig(base_url=url, api_key=SecretStr(key), timeouts=waits, retries=RetryPolicy(max_attempts=1))


def serving_pod(state: Gathered, wanted: str | None) -> Mapping[str, Any]:
    """Return the replica to ask: the wanted one, or one that serves.

    Raises:
        CliError: there is none; the message has the cause from the status.
    """
    from vllm_operator.cli.gathered import is_ready
    from vllm_operator.cli.pod_logs import choose_pod

    if wanted is not None:
        return choose_pod(state.pods, state.replica_statuses, wanted)
    phases = {name: entry.get("phase") for name, entry in state.replica_statuses.items()}
    ready = [pod for pod in state.pods if is_ready(pod) and not field(pod, "metadata", "deletionTimestamp")]
    found = next((pod for pod in ready if phases.get(name_of(pod)) == "Serving"), None) or next(iter(ready), None)
    if found is None:
        if state.unread:
            raise CliError("; ".join(state.unread), UNAVAILABLE)
        message = clean(field(state.server, "status", "message")) or "its status says nothing"
        raise CliError(f"no replica of {name_of(state.server)} serves: {message}")
    return found


def api_key(api: Cluster, server: Object) -> str:
    """Return the API key of a server, from its Secret; empty if it needs none.

    Raises:
        CliError: the Secret cannot be read, and VLLM_API_KEY is unset.
    """
    from vllm_operator.kube.kinds import SECRET

    name = field(server, "spec", "security", "apiKeySecretRef", "name")
    if not isinstance(name, str):
        return ""
    entry = field(server, "spec", "security", "apiKeySecretRef", "key") or "token"
    try:
        return _decoded(api.get(SECRET, name), str(entry))
    except CallError as error:
        if given := os.environ.get(KEY_VARIABLE):
            return given
        raise CliError(f"{error.message}; or set {KEY_VARIABLE} to the server's API key", error.code) from error


def _decoded(secret: Mapping[str, Any], entry: str) -> str:
    value = field(secret, "data", entry)
    try:
        return base64.b64decode(value, validate=True).decode().strip()
    except (TypeError, ValueError, binascii.Error) as error:
        name = name_of(secret)
        raise CliError(f"Secret {name} has no text under the key {clean(entry, 253)}: correct the Secret") from error


def prompt_text(words: tuple[str, ...]) -> str:
    """Return the prompt of the arguments, or of standard input if there are none; empty on a terminal.

    Raises:
        CliError: standard input is longer than a prompt may be.
    """
    if words:
        return " ".join(words)
    if sys.stdin.isatty():
        return ""
    text = sys.stdin.read(LONGEST_PROMPT + 1)
    if len(text) > LONGEST_PROMPT:
        raise CliError(f"the prompt has more than {LONGEST_PROMPT:,} characters: shorten it")
    return text.rstrip("\n")


def print_stream(stream: CompletionStream) -> CompletionResponse:
    """Print the pieces of an answer as they come, without control characters, and return the whole answer."""
    with stream:
        for delta in stream:
            click.echo(clean_lines(delta.content), nl=False)
            sys.stdout.flush()
        click.echo()
        return stream.response


def print_usage(response: CompletionResponse) -> None:
    """Print tokens and times on standard error."""
    usage, first = response.usage, response.time_to_first_token
    tokens = (
        f"{usage.prompt_tokens} prompt and {usage.completion_tokens} generated tokens" if usage else "tokens unknown"
    )
    parts = [tokens, f"{response.latency:.2f} s"]
    if first is not None:
        parts.append(f"first token after {first:.2f} s")
    if response.tokens_per_second is not None:
        parts.append(f"{response.tokens_per_second:.1f} tokens/s")
    if response.finish_reason == "length":
        parts.append("cut by --max-tokens or the context")
    click.echo(f"[{', '.join(parts)}]", err=True)
