"""`kubectl vllm chat`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.options import ClusterOptions, cluster_options, output_option
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import name_argument
from vllm_operator.cli.talk import connected, print_stream, print_usage, prompt_text, request_options

if TYPE_CHECKING:
    from vllm_operator.client import ChatMessage, CompletionResponse, VLLMClient


@click.command()
@name_argument()
@click.argument("prompt", nargs=-1)
@cluster_options()
@request_options
@click.option("--system", metavar="TEXT", help="System message before the conversation.")
@output_option("json")
def command(
    name: str,
    prompt: tuple[str, ...],
    cluster: ClusterOptions,
    model: str | None,
    max_tokens: int,
    temperature: float | None,
    pod: str | None,
    timeout: float,
    system: str | None,
    output: str | None,
) -> None:
    """Chat with a server through a port-forward, with the API key from its Secret.

    PROMPT is one message; without it, standard input is read. On a terminal a conversation starts, which ends with
    ctrl-D. The answer is streamed; tokens and times go to standard error.
    """
    from vllm_operator.cli.cluster import Cluster

    text = prompt_text(prompt)
    if not text and not _is_terminal():
        raise click.UsageError("the prompt is empty: write it behind the name, or pipe it in")
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    with connected(Cluster(cluster), name, pod, model, timeout) as client:
        history = _system_messages(system)
        if text:
            _turn(client, history, text, options, output)
        else:
            _converse(client, history, options, output)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _system_messages(system: str | None) -> list[ChatMessage]:
    from vllm_operator.client import ChatMessage

    return [ChatMessage(role="system", content=system)] if system else []


def _converse(client: VLLMClient, history: list[ChatMessage], options: dict[str, Any], output: str | None) -> None:
    """Read messages from the terminal until ctrl-D."""
    from vllm_operator.client import VLLMClientError

    click.echo("ctrl-D ends the conversation", err=True)
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            click.echo()
            return
        if text:
            before = len(history)
            try:
                _turn(client, history, text, options, output)
            except VLLMClientError as error:
                # The conversation goes on without this message: it may be too long for the context.
                del history[before:]
                click.echo(f"error: {clean(error, 600)}", err=True)


def _turn(
    client: VLLMClient, history: list[ChatMessage], text: str, options: dict[str, Any], output: str | None
) -> None:
    """Send a message with those before it, print the answer, and add both to the conversation."""
    from vllm_operator.client import ChatMessage

    history.append(ChatMessage(role="user", content=text))
    response = client.chat(history, **options) if output else print_stream(client.stream_chat(history, **options))
    history.append(ChatMessage(role="assistant", content=response.content))
    _finish(response, output)


def _finish(response: CompletionResponse, output: str | None) -> None:
    from vllm_operator.cli.output import print_data

    if output:
        print_data(response.model_dump(mode="json"), output)
    else:
        print_usage(response)
