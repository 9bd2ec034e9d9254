"""`kubectl vllm wait`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import FAILED
from vllm_operator.cli.options import ClusterOptions, Duration, cluster_options, output_option
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import complete_name, condition, field, find_server, is_judged

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

INTERVAL_SECONDS = 1.0
"""Seconds between two reads of a server."""

OPERATOR_SECONDS = 30.0
"""Seconds without a judgement of the spec after which the operator is probably not running. A judgement takes less
than a second."""


@dataclass(frozen=True)
class Outcome:
    """The meaning of a status for someone who waits.

    Attributes:
        done: nothing more is to be waited for.
        ready: the server is Ready.
        message: the cause, or the progress.
    """

    done: bool
    ready: bool
    message: str


@click.command()
@click.argument("names", nargs=-1, required=True, shell_complete=complete_name)
@cluster_options()
@click.option(
    "--timeout", type=Duration(), default="30m", show_default=True, metavar="DURATION", help="Longest wait for all."
)
@output_option("json", "yaml")
@click.pass_context
def command(
    context: click.Context, names: tuple[str, ...], cluster: ClusterOptions, timeout: float, output: str | None
) -> None:
    """Wait until servers are Ready; end at once with the cause when one is Stalled.

    The exit code is 0 when all are Ready, and 1 when one is Stalled, refused or paused, or when the time is over.
    """
    from vllm_operator.cli.cluster import Cluster

    api = Cluster(cluster)
    deadline = time.monotonic() + timeout
    outcomes = {name: _wait(api, name, deadline, quiet=output is not None) for name in dict.fromkeys(names)}
    if output:
        from vllm_operator.cli.output import print_data

        data = [{"name": name, "ready": one.ready, "message": one.message} for name, one in outcomes.items()]
        print_data(data, output)
    if not all(outcome.ready for outcome in outcomes.values()):
        context.exit(FAILED)


def _wait(api: Cluster, name: str, deadline: float, *, quiet: bool) -> Outcome:
    """Wait for one server; return how it ended, and print it unless `quiet` is set."""
    from vllm_operator.cli import console

    shown, started = "", time.monotonic()
    with console.waiting(f"waiting for {name}") as say:
        while True:
            outcome = _look(api, name, first=not shown)
            if not outcome.done and time.monotonic() >= deadline:
                outcome = Outcome(True, False, f"not Ready in time: {outcome.message}")
            if outcome.done:
                break
            note = outcome.message
            if note == UNJUDGED and time.monotonic() - started > OPERATOR_SECONDS:
                note = f"{UNJUDGED}: is it running? Check with: kubectl vllm doctor"
            if note != shown:
                shown = note
                say(f"{name}: {note}")
            time.sleep(max(0.0, min(INTERVAL_SECONDS, deadline - time.monotonic())))
    if not quiet or not outcome.ready:
        click.echo(f"{name}: {'Ready' if outcome.ready else outcome.message}", err=not outcome.ready)
    return outcome


def _look(api: Cluster, name: str, *, first: bool) -> Outcome:
    """Return the outcome of one read. After the first, an API server that does not answer is waited for."""
    try:
        return outcome_of(find_server(api, name))
    except CallError as error:
        if first or not error.is_passing:
            raise
        return Outcome(False, False, error.message)


UNJUDGED = "the operator has not judged this spec yet"


def outcome_of(server: Mapping[str, Any]) -> Outcome:
    """Return what the status of a server means. A status of an earlier generation means nothing yet."""
    if not is_judged(server):
        return Outcome(False, False, UNJUDGED)
    ready, stalled = condition(server, "Ready"), condition(server, "Stalled")
    message = clean(field(server, "status", "message")) or clean(ready.get("message")) or "no message"
    if ready.get("status") == "True":
        return Outcome(True, True, message)
    if field(server, "metadata", "deletionTimestamp"):
        return Outcome(True, False, "it is being deleted")
    if stalled.get("status") == "True":
        cause = clean(stalled.get("message")) or message
        return Outcome(True, False, f"Stalled ({clean(stalled.get('reason'), 128)}): {cause}")
    if ready.get("reason") == "Paused":
        return Outcome(True, False, f"Paused: {clean(ready.get('message')) or message}: use kubectl vllm resume")
    return Outcome(False, False, f"{clean(field(server, 'status', 'phase'), 64)}: {message}")
