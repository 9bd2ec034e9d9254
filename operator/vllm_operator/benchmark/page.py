"""The page of a report: figures and charts in one HTML file that needs neither a network nor scripts."""

from __future__ import annotations

from html import escape

from vllm_operator.benchmark import pictures
from vllm_operator.benchmark.report import Report, table

STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
.about td { text-align: left; white-space: normal; }
svg { max-width: 100%; height: auto; }
"""


def html(report: Report) -> str:
    """Return the page."""
    parts = ["<h1>Benchmark of ", escape(str(report.about.get("server") or "a server")), "</h1>", _about(report)]
    parts += [f"<p>{escape(note)}</p>" for note in report.notes]
    parts += ["<h2>Figures</h2>", _table(table(report)), _errors(report)]
    parts += [f"<p>{pictures.svg(chart)}</p>" for chart in pictures.all_charts(report)]
    head = f'<meta charset="utf-8"><title>Benchmark</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _about(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(key))}</td><td>{escape(str(value))}</td></tr>" for key, value in report.about.items()
    )
    return f'<table class="about">{rows}</table>'


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"


def _errors(report: Report) -> str:
    found = [(figures.stage, text, count) for figures in report.figures for text, count in figures.errors.items()]
    if not found:
        return ""
    rows = [["Load", "Error", "Requests"], *([stage, text, str(count)] for stage, text, count in found)]
    return "<h2>Errors</h2>" + _table(rows)
