"""Start tracing where it is asked for."""

from __future__ import annotations

import os

import click

from vllm_operator.telemetry.destination import TracingError, destination
from vllm_operator.telemetry.spans import Spans


def start_tracing(option: str) -> Spans | None:
    """Return what makes and sends spans; None when tracing is off.

    Variables that a platform sets for every pod must not keep the operator from running: it then runs without spans.

    Args:
        option: value of `--otlp-endpoint`; empty when it was not given.

    Raises:
        click.ClickException: the option cannot be carried out.
    """
    try:
        target = destination(option, os.environ)
        return Spans(target) if target else None
    except TracingError as error:
        if option:
            raise click.ClickException(str(error)) from error
        click.echo(f"no spans are sent: {error}", err=True)
        return None
