"""`kubectl vllm top`."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.options import ClusterOptions, Duration, cluster_options, output_option
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import complete_name, field, find_server, mapping, name_of, namespace_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vllm_operator.cli.cluster import Cluster, Object
    from vllm_operator.cli.load import ReplicaLoad

HEADS = ("SERVER", "REPLICA", "PHASE", "RUNNING", "WAITING", "KV CACHE", "GEN TOK/S", "PROMPT TOK/S", "HPA")
WIDE_HEADS = (*HEADS, "NODE", "IMAGE")
PARALLEL = 8
"""Servers that are read at once."""

BAR = 10
"""Characters of the bar of the KV cache."""


@dataclass(frozen=True)
class Line:
    """One replica at one moment.

    Attributes:
        server: name of the server, with its namespace where several are shown.
        pod: name of the pod.
        phase: phase of the replica.
        load: its load; None for a replica that is not ready.
        generated: generated tokens a second since the look before; None at the first look.
        prompted: prompt tokens a second.
        autoscaler: replicas and bounds of the autoscaler; empty without one.
        node: name of its node; empty before it is scheduled.
        image: image of vLLM.
    """

    server: str
    pod: str
    phase: str
    load: ReplicaLoad | None
    generated: float | None = None
    prompted: float | None = None
    autoscaler: str = ""
    node: str = ""
    image: str = ""


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_name)
@cluster_options(all_namespaces=True)
@output_option("wide", "json", "yaml")
@click.option(
    "--interval", type=Duration(), default="2s", show_default=True, metavar="DURATION", help="Time between two looks."
)
@click.option("--once", is_flag=True, help="Print one table and end; the default where output is no terminal.")
def command(names: tuple[str, ...], cluster: ClusterOptions, output: str | None, interval: float, once: bool) -> None:
    """Watch the load of servers: requests that run and wait, KV cache, tokens a second.

    It fills the terminal until ctrl-C. The numbers come from /metrics of each ready replica; this needs the right to
    get pods/proxy.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.output import PHASE_STYLES, print_data, print_table

    if names and cluster.all_namespaces:
        raise click.UsageError("names cannot be combined with --all-namespaces: leave one out")
    api = Cluster(cluster)
    with console.progress("reading the load"):
        lines = look(api, names, {}, 0.0)
    if output in {"json", "yaml"}:
        print_data([_as_data(line) for line in lines], str(output))
    elif once or not sys.stdout.isatty():
        wide = output == "wide"
        print_table(WIDE_HEADS if wide else HEADS, (cells(line, wide=wide) for line in lines), PHASE_STYLES)
    else:
        _watch(api, names, lines, max(interval, 0.5), wide=output == "wide")


def _watch(api: Cluster, names: Sequence[str], lines: list[Line], interval: float, *, wide: bool) -> None:
    """Show the table on the whole screen until ctrl-C."""
    from rich.live import Live

    from vllm_operator.cli import console
    from vllm_operator.cli.api_failures import CallError

    read_at, note = time.monotonic(), ""
    with Live(console=console.out(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(lines, interval, note, wide=wide), refresh=True)
            time.sleep(interval)
            before = {line.pod: line.load for line in lines if line.load}
            now = time.monotonic()
            try:
                lines, read_at, note = look(api, names, before, now - read_at), now, ""
            except CallError as error:
                if not error.is_passing:
                    raise
                note = f"not current: {error.message}"


def look(api: Cluster, names: Sequence[str], before: Mapping[str, ReplicaLoad], seconds: float) -> list[Line]:
    """Return the replicas of the servers with their load.

    Args:
        api: the cluster.
        names: names of servers; none for all.
        before: the load of each pod at the look before.
        seconds: time since the look before.
    """
    from vllm_operator.kube.kinds import SERVER

    servers = [find_server(api, name) for name in names] if names else api.list(SERVER, api.scope)
    with ThreadPoolExecutor(PARALLEL) as pool:
        parts = list(pool.map(lambda server: list(_lines(api, server, before, seconds)), servers))
    return [line for part in parts for line in part]


def _lines(api: Cluster, server: Object, before: Mapping[str, ReplicaLoad], seconds: float) -> Iterator[Line]:
    from vllm_operator.cli.gathered import engine_container, gather, is_ready
    from vllm_operator.cli.load import read_loads

    own = api.within(namespace_of(server))
    state = gather(own, server)
    loads = read_loads(own, state.pods)
    shown = f"{namespace_of(server)}/{name_of(server)}" if api.options.all_namespaces else name_of(server)
    scaler = _scaler(state.children.get("HorizontalPodAutoscaler"))
    for pod in state.pods:
        name = name_of(pod)
        phase = state.replica_statuses.get(name, {}).get("phase") or ("Ready" if is_ready(pod) else "Unknown")
        load, old = loads.get(name), before.get(name)
        rates = _rates(load, old, seconds)
        node, image = clean(field(pod, "spec", "nodeName")), clean(engine_container(pod).get("image"))
        yield Line(shown, name, clean(phase, 32), load, *rates, scaler, node, image)
    if not state.pods:
        yield Line(shown, "", clean(field(server, "status", "phase"), 32) or "unknown", None, autoscaler=scaler)


def _rates(load: ReplicaLoad | None, old: ReplicaLoad | None, seconds: float) -> tuple[float | None, float | None]:
    if load is None or old is None or seconds <= 0:
        return None, None
    return _rate(load.generated, old.generated, seconds), _rate(load.prompted, old.prompted, seconds)


def _rate(new: float | None, old: float | None, seconds: float) -> float | None:
    """Return the growth of a counter a second; None where it is unknown, or the counter started again."""
    return None if new is None or old is None or new < old else (new - old) / seconds


def _scaler(scaler: Mapping[str, Any] | None) -> str:
    if scaler is None:
        return ""
    status, spec = mapping(scaler, "status"), mapping(scaler, "spec")
    wanted, low, high = status.get("desiredReplicas"), spec.get("minReplicas", 1), spec.get("maxReplicas")
    return f"{clean(wanted, 10) or '?'} of {clean(low, 10)}-{clean(high, 10)}"


def table(lines: Sequence[Line], *, wide: bool = False) -> RenderableType:
    """Return the table of the replicas."""
    from rich.table import Table
    from rich.text import Text

    from vllm_operator.cli.output import PHASE_STYLES

    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
    for head in WIDE_HEADS if wide else HEADS:
        grid.add_column(head, no_wrap=True, justify="left")
    for line in lines:
        grid.add_row(*(Text(cell, style=PHASE_STYLES.get(cell, "")) for cell in cells(line, wide=wide)))
    return grid


def cells(line: Line, *, wide: bool = False) -> list[str]:
    """Return the cells of a replica in the order of HEADS, or of WIDE_HEADS."""
    load = line.load
    note = clean(load.problem, 60) if load and load.problem else ""
    return [
        line.server,
        line.pod,
        line.phase,
        note or _number(load.running if load else None),
        _number(load.waiting if load else None),
        cache_bar(load.kv_cache if load else None),
        _number(line.generated),
        _number(line.prompted),
        line.autoscaler,
        *((line.node, line.image) if wide else ()),
    ]


def screen(lines: Sequence[Line], interval: float, note: str = "", *, wide: bool = False) -> RenderableType:
    """Return the whole screen: a head with the sums, a note about a failed look, and the table."""
    from rich.console import Group
    from rich.text import Text

    loads = [line.load for line in lines if line.load]
    running, waiting = (sum(getattr(load, name) or 0 for load in loads) for name in ("running", "waiting"))
    rate = sum(line.generated or 0 for line in lines)
    head = (
        f"{len({line.server for line in lines})} servers, {len(loads)} ready replicas, {running} running, "
        f"{waiting} waiting, {rate:.0f} generated tokens/s   {time.strftime('%H:%M:%S')}, "
        f"every {interval:g}s, ctrl-C ends"
    )
    return Group(Text(head, style="bold"), Text(note, style="red"), table(lines, wide=wide))


def cache_bar(used: float | None) -> str:
    """Return the use of a KV cache as a bar and a percentage; `-` when it is unknown."""
    if used is None:
        return "-"
    full = round(used * BAR)
    return f"{'#' * full}{'.' * (BAR - full)} {used:5.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _as_data(line: Line) -> dict[str, Any]:
    return {**dataclasses.asdict(line), "load": dataclasses.asdict(line.load) if line.load else None}
