"""`kubectl vllm status`."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vllm_operator.cli.gateways import find_gateway, gateway_tree, is_gateway_name
from vllm_operator.cli.options import ClusterOptions, Duration, cluster_options, output_option
from vllm_operator.cli.servers import field, find_server, name_argument, name_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.gathered import Gathered
    from vllm_operator.cli.load import ReplicaLoad


@click.command()
@name_argument()
@cluster_options()
@output_option("wide", "json", "yaml")
@click.option("--watch", "-w", is_flag=True, help="Show the tree again whenever --interval has passed, until ctrl-C.")
@click.option(
    "--interval", type=Duration(), default="2s", show_default=True, metavar="DURATION", help="Time between two looks."
)
@click.option("--no-load", is_flag=True, help="Do not read the load of the replicas; needs no right to pods/proxy.")
def command(
    name: str, cluster: ClusterOptions, output: str | None, watch: bool, interval: float, no_load: bool
) -> None:
    """Show the tree of a server: conditions, revisions, replicas with their load, autoscaler.

    `vllmgateway/NAME` shows a gateway: its address, models, and the requests that wait.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.output import print_data

    if watch and output in {"json", "yaml"}:
        raise click.UsageError("--watch shows text only: leave out --output, or use -o wide")
    api = Cluster(cluster)
    if is_gateway_name(name):
        _show_gateway(api, name, output, watch=watch)
        return
    with console.progress(f"reading {name}"):
        state, loads = look(api, name, with_load=not no_load)
    if output in {"json", "yaml"}:
        print_data(as_data(state, loads), str(output))
    elif watch:
        _watch(api, name, max(interval, 0.5), with_load=not no_load, wide=output == "wide")
    else:
        from vllm_operator.cli.tree import server_tree

        console.out().print(server_tree(state, loads, wide=output == "wide"))


def _show_gateway(api: Cluster, name: str, output: str | None, *, watch: bool) -> None:
    from vllm_operator.cli import console
    from vllm_operator.cli.output import print_data, without_managed_fields

    if watch:
        raise click.UsageError("--watch shows servers only: use kubectl get vllmgateways --watch")
    gateway = find_gateway(api, name)
    if output in {"json", "yaml"}:
        print_data({"gateway": without_managed_fields(gateway)}, str(output))
    else:
        console.out().print(gateway_tree(gateway))


def look(api: Cluster, name: str, *, with_load: bool) -> tuple[Gathered, dict[str, ReplicaLoad]]:
    """Return a server with its objects, and the load of its replicas."""
    from vllm_operator.cli.gathered import gather
    from vllm_operator.cli.load import read_loads

    state = gather(api, find_server(api, name))
    return state, read_loads(api, state.pods) if with_load else {}


def _watch(api: Cluster, name: str, interval: float, *, with_load: bool, wide: bool) -> None:
    """Show the tree until ctrl-C: in place on a terminal, else whenever it has changed."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from vllm_operator.cli import console
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.cli.tree import server_tree

    if not sys.stdout.isatty():
        _print_changes(api, name, interval, with_load=with_load, wide=wide)
    tree = server_tree(*look(api, name, with_load=with_load), wide=wide)
    with Live(tree, console=console.out(), auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            live.refresh()
            time.sleep(interval)
            try:
                tree = server_tree(*look(api, name, with_load=with_load), wide=wide)
                live.update(tree)
            except CallError as error:
                if not error.is_passing:
                    raise
                live.update(Group(tree, Text(f"not current: {error.message}", style="red")))


def _print_changes(api: Cluster, name: str, interval: float, *, with_load: bool, wide: bool) -> NoReturn:
    """Print the tree whenever it has changed, for pipes and files."""
    from vllm_operator.cli import console
    from vllm_operator.cli.tree import server_tree

    screen, shown = console.out(), ""
    while True:
        with screen.capture() as captured:
            screen.print(server_tree(*look(api, name, with_load=with_load), wide=wide))
        if captured.get() != shown:
            shown = captured.get()
            click.echo(shown)
            sys.stdout.flush()
        time.sleep(interval)


def as_data(state: Gathered, loads: dict[str, ReplicaLoad]) -> dict[str, Any]:
    """Return what the tree shows as data: the server, its children, and the load of each replica."""
    from vllm_operator.cli.gathered import engine_container, pod_hash, revision
    from vllm_operator.cli.output import without_managed_fields

    return {
        "server": without_managed_fields(state.server),
        "children": [
            {"kind": kind, "name": name_of(body), "status": body.get("status") or {}}
            for kind, body in state.children.items()
        ],
        "revisions": [
            {
                "revision": revision(body),
                "replicaSet": name_of(body),
                "hash": pod_hash(body),
                "image": engine_container(body, "spec", "template").get("image"),
                "replicas": field(body, "spec", "replicas") or 0,
                "readyReplicas": field(body, "status", "readyReplicas") or 0,
            }
            for body in state.replica_sets
        ],
        "replicas": [
            {
                "pod": name_of(pod),
                "status": dict(state.replica_statuses.get(name_of(pod), {})),
                "load": dataclasses.asdict(loads[name_of(pod)]) if name_of(pod) in loads else None,
            }
            for pod in state.pods
        ],
        "unread": list(state.unread),
    }
