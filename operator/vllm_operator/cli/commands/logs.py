"""`kubectl vllm logs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.options import ClusterOptions, Duration, cluster_options
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import condition, field, find_server, name_argument, name_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.pod_logs import LogChoice

MOST_LINES = 1_000_000


@click.command()
@name_argument()
@cluster_options()
@click.option("--pod", metavar="POD", help="Pod to read. [default: the worst replica]")
@click.option(
    "--container", "-c", metavar="NAME", help="Container to read. [default: the one that crashed, else that of vLLM]"
)
@click.option(
    "--tail", type=click.IntRange(0, MOST_LINES), default=200, show_default=True, help="Lines from the end of each log."
)
@click.option(
    "--since", type=Duration(), default="0s", metavar="DURATION", help="Only lines of this time. [default: all]"
)
@click.option("--previous", "-p", is_flag=True, help="Only the log of the container's former run.")
@click.option("--follow", "-f", is_flag=True, help="Print new lines until the container ends or ctrl-C.")
def command(
    name: str,
    cluster: ClusterOptions,
    pod: str | None,
    container: str | None,
    tail: int,
    since: float,
    previous: bool,
    follow: bool,
) -> None:
    """Print the cause of what is wrong, then the log of the container that explains it.

    The cause and the headings go to standard error, the log to standard output. Of a container that crashed, the log of
    the former run comes first. Secrets are masked.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.exits import CliError
    from vllm_operator.cli.gathered import gather
    from vllm_operator.cli.pod_logs import choose_container, choose_pod

    if previous and follow:
        raise click.UsageError("--previous cannot be combined with --follow: a former run writes nothing more")
    api = Cluster(cluster)
    with console.progress(f"reading {name}"):
        state = gather(api, find_server(api, name))
    for line in cause_lines(state.server):
        click.echo(line, err=True)
    if not state.pods and state.unread:
        raise CliError("; ".join(state.unread))
    chosen = choose_container(choose_pod(state.pods, state.replica_statuses, pod), container, previous=previous)
    if previous and not chosen.previous:
        raise CliError(f"container {chosen.container} of pod {name_of(chosen.pod)} has no former run")
    _print(api, chosen, tail, since, follow)


def cause_lines(server: Mapping[str, Any]) -> list[str]:
    """Return the causes that the status names: the message of the server, and that of each bad condition."""
    phase = clean(field(server, "status", "phase")) or "not judged yet"
    lines = [f"{name_of(server)}: {phase}: {clean(field(server, 'status', 'message'))}".rstrip(": ")]
    for kind in ("Accepted", "CacheReady"):
        entry = condition(server, kind)
        if entry.get("status") == "False":
            lines.append(f"{kind}=False ({clean(entry.get('reason'), 128)}): {clean(entry.get('message'))}")
    return lines


def _print(api: Cluster, chosen: LogChoice, tail: int, since: float, follow: bool) -> None:
    from vllm_operator.cli.pod_logs import follow_log, log_query, read_log
    from vllm_operator.diagnosis.causes import diagnose_log

    where = f"pod {name_of(chosen.pod)}, container {chosen.container}"
    if chosen.previous:
        log = read_log(api, chosen.pod, log_query(chosen.container, previous=True, tail=tail, since=since))
        found = diagnose_log(log)
        cause = f": {clean(found.message)}" if found and found.reason else ""
        click.echo(f"--- {where}: former run, {chosen.ended}{cause}", err=True)
        click.echo(log, nl=False)
    if chosen.current:
        ended = f", {chosen.ended}" if chosen.ended and not chosen.previous else ""
        click.echo(f"--- {where}{ended}", err=True)
        query = log_query(chosen.container, tail=tail, since=since)
        if follow:
            for line in follow_log(api, chosen.pod, query):
                click.echo(line)
        else:
            click.echo(read_log(api, chosen.pod, query), nl=False)
