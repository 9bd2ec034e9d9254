"""Write the figures of `make bench-client` as Markdown tables, and compare them with the goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BASE, OURS, PLAIN = "raw aiohttp", "vllm_operator.client", "httpx"
MOST_OF_RAW = 1.5
"""Goal: our time, divided by that of raw aiohttp."""
LEAST_OF_HTTPX = 10.0
"""Goal: the time of plain httpx, divided by ours."""
MOST_MIB = 300
"""Goal: peak memory with 1,000 streams at once, in MiB."""
MOST_IMPORT_SECONDS = 0.3
"""Goal: seconds to import the package."""
TITLES = {
    "answers": "1 KB answers, 64 in flight",
    "streams": "Streams of 100 chunks, 64 in flight",
    "thousand": "1,000 streams at once, 50 ms between chunks",
    "vllm answers": "A real vLLM: answers of 16 tokens, 16 in flight",
    "vllm streams": "A real vLLM: streams of 16 tokens, 16 in flight",
}
Entry = dict[str, float] | str


def table(figures: Mapping[str, Any]) -> str:
    """Return one table for each scenario, and one with the goals."""
    parts = [_scenario(TITLES[title], figures[title]) for title in TITLES if title in figures]
    if seconds := figures.get("import_seconds"):
        rows = [f"| {name} | {found:.2f} s |" for name, found in seconds.items()]
        parts.append("\n".join(["| Import | |", "|---|---|", *rows]))
    goals = [f"| {what} | {goal} | {measured} | {verdict} |" for what, goal, measured, verdict in goal_rows(figures)]
    if goals:
        parts.append("\n".join(["| Goal | | Measured | |", "|---|---|---|---|", *goals]))
    return "\n\n".join(parts)


def _scenario(title: str, entries: Mapping[str, Entry]) -> str:
    lines = [
        f"| {title} | wall, ms each | CPU, ms each | of raw aiohttp (wall, CPU) | peak memory |",
        "|---|---|---|---|---|",
    ]
    base = entries.get(BASE)
    for name, entry in entries.items():
        if isinstance(entry, str):
            lines.append(f"| {name} | {entry} | | | |")
            continue
        ratios = ", ".join(f"{ratio(entry, base, key):.2f}x" for key in ("wall_ms", "cpu_ms")) if base else ""
        lines.append(
            f"| {name} | {entry['wall_ms']:.3f} | {entry['cpu_ms']:.3f} | {ratios} | {entry['rss_mib']:.0f} MiB |"
        )
    return "\n".join(lines)


def ratio(entry: Entry, base: Entry | None, key: str) -> float:
    """Return how many times the base's value an entry has; nan when either is missing."""
    if isinstance(entry, str) or base is None or isinstance(base, str):
        return float("nan")
    return entry[key] / base[key]


def goal_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Return what, goal, measured value and `met` or `missed`, for each goal that was measured."""
    for title, what in (("answers", "answers"), ("streams", "streams")):
        entries = figures.get(title, {})
        if OURS in entries and BASE in entries:
            found = ratio(entries[OURS], entries[BASE], "wall_ms")
            yield (
                f"{what}: our time, of raw aiohttp",
                f"{MOST_OF_RAW}x or less",
                f"{found:.2f}x",
                _met(found <= MOST_OF_RAW),
            )
    answers = figures.get("answers", {})
    if OURS in answers and PLAIN in answers:
        found = ratio(answers[PLAIN], answers[OURS], "wall_ms")
        yield (
            "answers: plain httpx's time, of ours",
            f"{LEAST_OF_HTTPX:g}x or more",
            f"{found:.1f}x",
            _met(found >= LEAST_OF_HTTPX),
        )
    ours = figures.get("thousand", {}).get(OURS)
    if isinstance(ours, dict):
        yield (
            "1,000 streams: peak memory",
            f"{MOST_MIB} MiB or less",
            f"{ours['rss_mib']:.0f} MiB",
            _met(ours["rss_mib"] <= MOST_MIB),
        )
    seconds = figures.get("import_seconds", {}).get(OURS)
    if seconds is not None:
        yield "import", f"{MOST_IMPORT_SECONDS} s or less", f"{seconds:.2f} s", _met(seconds <= MOST_IMPORT_SECONDS)


def _met(holds: bool) -> str:
    return "met" if holds else "missed"
