"""Write the figures next to their goals, as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Row = tuple[str, str, Any]


def table(figures: Mapping[str, Any]) -> str:
    """One row a measure: what, goal, measured. What was not measured has no row."""
    lines = ["| Measure | Goal | Measured |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {goal} | {value} |" for what, goal, value in _rows(figures))])


def _rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    count, children = figures["servers"], figures["children_per_server"]
    yield f"{count} servers x {children} children, pods: {figures['pods']}", "", f"{figures['converge_seconds']} s"
    if bare := figures.get("bare_loop_seconds"):
        yield (
            "compared with a bare write loop, before and after",
            "1.1x",
            f"{figures['ratio_to_bare_loop']}x of {bare} s",
        )
    yield from _beside(figures)
    yield "CPU of the operator per server", "10 ms", f"{figures['operator_cpu_ms_per_server']} ms"
    yield "RSS", "150 MiB at 1,000", f"{figures['operator_rss_mib']} MiB"
    yield "writes per server", f"{children + 1}", figures["writes_per_server"]
    yield "reads of single objects per server", "", figures["reads_per_server"]
    yield from _growth(figures)
    yield from _latencies(figures)
    rest = figures["rest"]
    told = f"{_writes(rest)}, {rest['lists']} lists, {rest['core_percent']} % of a core"
    yield f"unchanged for {rest['seconds']:g} s", "0 writes, 0 lists, 1 % of a core", told
    yield from _changes(figures, count)
    restart = figures["restart"]
    ready = f", ready after {restart['ready_seconds']} s" if "ready_seconds" in restart else ""
    yield "restart", "0 writes, 10 s", f"{_writes(restart)} in {restart['watched_seconds']} s{ready}"
    for room, percent in figures.get("profile_percent", {}).items():
        yield f"profile: {room}", "", f"{percent} %"


def _writes(figures: Mapping[str, Any]) -> str:
    """`7 writes (leases 5, deployments 2)`."""
    targets = ", ".join(f"{target} {count}" for target, count in figures["writes_by_target"].items())
    return f"{figures['writes']} writes" + (f" ({targets})" if targets else "")


def _beside(figures: Mapping[str, Any]) -> Iterator[Row]:
    """Return the CPU time of the other processes, and that of the naive operator for the same work."""
    loops = {"bare loop, before": "cpu_seconds_bare-1", "bare loop, after": "cpu_seconds_bare-2"}
    for what, name in {**loops, "with the operator": "cpu_seconds_of_others"}.items():
        if spent := figures.get(name):
            yield f"CPU of the others, {what} (s)", "", ", ".join(f"{who} {used}" for who, used in spent.items())
    if naive := figures.get("naive_loop"):
        told = f"{naive['converge_seconds']} s, {naive['operator_cpu_ms_per_server']} ms a server"
        yield "the naive operator for the same", "", f"{told}, {naive['operator_rss_mib']} MiB"


def _growth(figures: Mapping[str, Any]) -> Iterator[Row]:
    if "sizes" not in figures:
        return
    names = {"converge_seconds": "time", "operator_cpu_seconds": "CPU", "operator_grown_mib": "memory"}
    for row, name in names.items():
        values = ", ".join(f"{size}: {run[row]}" for size, run in figures["sizes"].items())
        yield f"exponent of {name} ({values})", "1.15", figures[f"exponent_{row}"]


def _latencies(figures: Mapping[str, Any]) -> Iterator[Row]:
    goals = {"apply_to_last_child": "p50 150, max 1000", "deleted_child_back": "p50 20, max 1000"}
    goals["edit_reverted"] = "p50 20, max 1000"
    repair = figures.get("latency_ms_minimal_repair", {})
    for when in ("alone", "at_scale"):
        for row, spread in figures.get(f"latency_ms_{when}", {}).items():
            where = when.replace("_", " ")
            yield f"{row.replace('_', ' ')}, {where} (ms)", goals[row], _spread(spread)
            if when == "alone" and row in repair:
                yield "the same by the minimal repair loop, alone (ms)", "", _spread(repair[row])


def _spread(spread: Mapping[str, int]) -> str:
    return f"p50 {spread['p50']}, max {spread['max']}"


def _changes(figures: Mapping[str, Any], count: int) -> Iterator[Row]:
    if hot := figures.get("hot_server"):
        what = f"one server changed {hot['changes']} times in {hot['changes_seconds']} s"
        yield what, "right, a handful of writes", f"right after {hot['right_after_seconds']} s, writes {hot['writes']}"
    if change := figures.get("change_all"):
        yield "all changed at once", f"{count} writes of children", f"{change['seconds']} s, writes {change['writes']}"
