"""The report of a measurement: JSON to keep and compare, CSV for spreadsheets, one page of HTML, and a picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vllm_operator.benchmark.figures import StageFigures, all_figures
from vllm_operator.benchmark.records import MeasuredRequest, Sample

FORMAT = "vllm-operator.dev/benchmark/v1"
"""Name and version of the JSON format."""

LARGEST_REPORT = 256 * 1024 * 1024
"""Bytes of a report that is read again."""


class ReportError(ValueError):
    """A file that is no report; the message names the file's fault."""


@dataclass(frozen=True)
class Report:
    """A measurement.

    Attributes:
        about: what was measured: server, model, version, generator, options, start.
        requests: all requests.
        samples: samples of the server while they ran.
    """

    about: Mapping[str, Any]
    requests: Sequence[MeasuredRequest]
    samples: Sequence[Sample] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def figures(self) -> list[StageFigures]:
        """Return the figures of each stage."""
        return all_figures(self.requests)


def summary(report: Report) -> dict[str, Any]:
    """Return what was measured, the notes, and the figures of each stage, without requests and samples."""
    return {
        "about": dict(report.about),
        "notes": list(report.notes),
        "stages": [asdict(figures) for figures in report.figures],
    }


def as_json(report: Report) -> str:
    """Return the report as JSON, with all requests and samples, so that every figure can be computed again."""
    return json.dumps(
        {
            "format": FORMAT,
            **summary(report),
            "requests": [asdict(request) for request in report.requests],
            "samples": [asdict(sample) for sample in report.samples],
        },
        indent=1,
    )


def from_json(text: str) -> Report:
    """Return the report in a JSON text.

    Raises:
        ReportError: it is no report of this format.
    """
    if len(text) > LARGEST_REPORT:
        raise ReportError(f"it has more than {LARGEST_REPORT} characters")
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ReportError(f"it is no JSON: {error}") from None
    except RecursionError:
        raise ReportError("it is nested too deep") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ReportError(f"its format is not {FORMAT}: give a report.json of kubectl vllm bench")
    try:
        requests = [_read(MeasuredRequest, item) for item in body["requests"]]
        samples = [_read(Sample, item) for item in body.get("samples") or []]
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"a request or sample is malformed: {str(error)[:200]}") from None
    return Report(dict(body.get("about") or {}), requests, samples, tuple(map(str, body.get("notes") or ())))


def _read(kind: type[Any], item: Any) -> Any:
    known = {one.name for one in fields(kind)}
    if not isinstance(item, dict) or not set(item) <= known:
        raise ValueError(f"unknown fields in {str(item)[:80]}")
    value = kind(**item)
    for name in ("started", "latency", "seconds"):
        if hasattr(value, name) and not isinstance(getattr(value, name), int | float):
            raise TypeError(f"{name} is no number")
    return value


def requests_csv(report: Report) -> str:
    """Return one line for each request."""
    names = [one.name for one in fields(MeasuredRequest)]
    return _csv(
        [*names, "seconds_per_token"], ([*(getattr(r, n) for n in names), r.seconds_per_token] for r in report.requests)
    )


def samples_csv(report: Report) -> str:
    """Return one line for each sample; phases as `Serving=2 Loading=1`."""
    names = [one.name for one in fields(Sample) if one.name != "phases"]
    rows = (
        [*(getattr(s, n) for n in names), " ".join(f"{key}={value}" for key, value in sorted(s.phases.items()))]
        for s in report.samples
    )
    return _csv([*names, "phases"], rows)


def _csv(header: Sequence[str], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def table(report: Report) -> list[list[str]]:
    """Return the figures as rows of text, with a header."""
    header = [
        "Load", "Requests", "Failed", "In flight", "Requests/s", "Tokens/s", "Latency p50", "Latency p90",
        "Latency p99", "First token p50", "First token p90", "First token p99", "Per token p50", "Per token p99",
    ]  # fmt: skip
    return [header, *(_row(figures) for figures in report.figures)]


def _row(figures: StageFigures) -> list[str]:
    tokens = figures.output_tokens_per_second
    latency, first, each = figures.latency, figures.first_token, figures.per_token
    return [
        figures.stage,
        str(figures.requests),
        str(figures.failed),
        f"{figures.in_flight:.1f}",
        f"{figures.requests_per_second:.2f}",
        "unknown" if tokens is None else f"{tokens:.1f}",
        *(seconds(latency.percentiles[name]) if latency else "-" for name in ("p50", "p90", "p99")),
        *(seconds(first.percentiles[name]) if first else "-" for name in ("p50", "p90", "p99")),
        *(seconds(each.percentiles[name]) if each else "-" for name in ("p50", "p99")),
    ]


def seconds(value: float) -> str:
    """Return a time with its unit: `12.3 ms`, `1.23 s`."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
