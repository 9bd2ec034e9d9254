"""The table of two phases with their ratios, and the goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

GOAL_RATIO = 1.5
MEMORY_MIB = 512.0
"""Memory limit of the operator's container as it is installed."""


class Row(NamedTuple):
    """One measure of the table.

    Attributes:
        name: name of the figure.
        what: text of the row.
        floor: smaller values count as this one in the ratio: the resolution of the measurement; None for no ratio.
        goal: text of the goal.
    """

    name: str
    what: str
    floor: float | None = None
    goal: str = ""


RATIO = f"{GOAL_RATIO:g}x"
ROWS = (
    Row("reconcile_p50_ms", "good tenant: reconcile p50 (ms)", 5.0, RATIO),
    Row("reconcile_p99_ms", "good tenant: reconcile p99 (ms)", 5.0, RATIO),
    Row("reconciles_missed", "good tenant: reconciles not seen within 60 s", None, "0"),
    Row("late_ms_p50", "good tenant: lateness of probes p50 (ms)", 10.0, RATIO),
    Row("late_ms_p99", "good tenant: lateness of probes p99 (ms)", 10.0, RATIO),
    Row("yardstick_p50_ms", "machine: the same by a program that only copies p50 (ms)", 5.0),
    Row("yardstick_p99_ms", "machine: the same by a program that only copies p99 (ms)", 5.0),
    Row("patch_p50_ms", "machine: answer of the API server to the patch p50 (ms)", 5.0),
    Row("patch_p99_ms", "machine: answer of the API server to the patch p99 (ms)", 5.0),
    Row("own_late_ms_p99", "machine: lateness of the stand-ins' own clock p99 (ms)", 10.0),
    Row("load", "machine: load average"),
    Row("stalled_seconds", "good tenant: stalled engine reported after (s)", 1.0, RATIO),
    Row("healthz_longest_seconds", "/healthz: longest wait (s)", 0.1, "10 s"),
    Row("metrics_longest_seconds", "/metrics: longest wait (s)", 0.1),
    Row("cpu_percent", "operator: CPU (% of a core)"),
    Row("rss_mib", "operator: RSS at the end (MiB)"),
    Row("rss_growth_mib", "operator: growth of RSS (MiB)"),
    Row("rss_peak_mib", "operator: peak RSS (MiB)", None, f"{MEMORY_MIB:g}"),
    Row("restart_seconds", "operator: restart until ready (s)", 1.0),
    Row("restart_peak_mib", "operator: peak RSS after the restart (MiB)", None, f"{MEMORY_MIB:g}"),
    Row("restarts", "operator: ended by itself", None, "0"),
)


def ratio(row: Row, calm: float | None, hostile: float | None) -> float | None:
    """Return hostile over calm; None where one is missing or the row has no ratio."""
    if row.floor is None or calm is None or hostile is None:
        return None
    return round(max(hostile, row.floor) / max(calm, row.floor), 2)


def table(calm: Mapping[str, Any], hostile: Mapping[str, Any]) -> str:
    """Return the figures of both phases as a Markdown table."""
    lines = ["| Measure | Goal | A: undisturbed | B: hostile | B/A |", "|---|---|---|---|---|"]
    for row in ROWS:
        a, b = calm.get(row.name), hostile.get(row.name)
        found = ratio(row, a, b)
        cells = (row.what, row.goal, _cell(a), _cell(b), "" if found is None else f"{found}x")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _relative(calm, hostile)])


def _relative(calm: Mapping[str, Any], hostile: Mapping[str, Any]) -> str:
    """Return how much slower than the yardstick the reconciles became."""
    known, parts = {row.name: row for row in ROWS}, []
    for share in ("p50", "p99"):
        names = (f"reconcile_{share}_ms", f"yardstick_{share}_ms")
        own, machine = (ratio(known[name], calm.get(name), hostile.get(name)) for name in names)
        parts.append(f"{share} {round(own / machine, 2)}x" if own and machine else f"{share} not seen")
    return f"Reconciles, B/A of the operator over B/A of the yardstick: {', '.join(parts)}"


def _cell(value: Any) -> str:
    return "not seen" if value is None else str(value)


def kinds_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return what each hostile kind did, so that a kind that did nothing is seen."""
    lines = [
        "| Kind | What it does | Pods | Requests answered | MiB sent | Writes | Refused |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("kind", "what", "pods", "asked", "sent_mib", "writes", "refused")
    return "\n".join([*lines, *(f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows)])


def slow(calm: Mapping[str, Any], hostile: Mapping[str, Any]) -> list[str]:
    """Return the rows whose ratio is above the goal. They fail nothing, since a busy machine moves them."""
    found = []
    for row in ROWS:
        value = ratio(row, calm.get(row.name), hostile.get(row.name))
        missing = row.goal == RATIO and hostile.get(row.name) is None
        if row.goal == RATIO and (missing or (value is not None and value > GOAL_RATIO)):
            found.append(f"{row.what}: {'not seen' if missing else f'{value}x'}")
    return found


def failures(calm: Mapping[str, Any], hostile: Mapping[str, Any]) -> list[str]:
    """Return the goals that were missed for good: an operator that ended, or one with more memory than its limit."""
    found = []
    for name, figures in (("A", calm), ("B", hostile)):
        if figures.get("restarts"):
            found.append(f"phase {name}: the operator ended by itself, {figures['restarts']} times")
        if error := figures.get("restart_error"):
            found.append(f"phase {name}: the operator did not restart: {error}")
        found += [
            f"phase {name}: {key} is {figures[key]}, above {MEMORY_MIB:g}"
            for key in ("rss_peak_mib", "restart_peak_mib")
            if figures.get(key, 0.0) > MEMORY_MIB
        ]
    return found
