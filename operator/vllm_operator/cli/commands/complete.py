"""`kubectl vllm complete`."""

from __future__ import annotations

from typing import Any

import click

from vllm_operator.cli.options import ClusterOptions, cluster_options, output_option
from vllm_operator.cli.servers import name_argument
from vllm_operator.cli.talk import connected, print_stream, print_usage, prompt_text, request_options


@click.command()
@name_argument()
@click.argument("prompt", nargs=-1)
@cluster_options()
@request_options
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
    output: str | None,
) -> None:
    """Let a server continue a text through a port-forward, with the API key from its Secret.

    PROMPT is the text; without it, standard input is read. The answer is streamed; tokens and times go to standard
    error.
    """
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.output import print_data

    text = prompt_text(prompt)
    if not text:
        raise click.UsageError("the prompt is empty: write it behind the name, or pipe it in")
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    with connected(Cluster(cluster), name, pod, model, timeout) as client:
        if output:
            print_data(client.completions(text, **options).model_dump(mode="json"), output)
        else:
            print_usage(print_stream(client.stream_completions(text, **options)))
