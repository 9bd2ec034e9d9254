"""Parts of expressions in PromQL that several rules need."""

from __future__ import annotations

from vllm_operator.vllm.metric_series import PROCESS_START, ServerSeries

WINDOW = "5m"
WINDOW_SECONDS = 300
"""The window of `requests_in`, as a Prometheus duration and in seconds."""


def number(value: float) -> str:
    """Return a number as PromQL and people write it."""
    return f"{value:.12g}"


def percent(fraction: float) -> str:
    """Return a fraction as a percentage, for texts."""
    return f"{fraction * 100:.6g}%"


def requests_in(series: ServerSeries, *matchers: str, by: str = "") -> str:
    """Return the answered requests of the last five minutes, each once however many jobs scrape the replica.

    vLLM exports a status only after the first answer that has it, and `increase` reports no change for a series that
    begins within the window: 50 requests that fail at once would count as none. Such a series counts in full if the
    replica was scraped before, or has started since. Else Prometheus was away, and the series may be old.

    Args:
        series: series of the server.
        matchers: further matchers of `http_requests_total`, such as `status="5xx"`.
        by: labels of the result, such as `namespace, pod`; a total when empty.
    """
    counter = series(series.names.http_requests, *matchers)
    scraped = series(series.names.running)
    started = series(PROCESS_START)
    return (
        f"sum{f' by ({by})' if by else ''} (max by (namespace, pod, handler, status) (\n"
        f"  {counter}\n"
        f"    unless {counter} offset {WINDOW}\n"
        f"    and on (namespace, pod) ({scraped} offset {WINDOW} or {started} > time() - {WINDOW_SECONDS})\n"
        f"  or increase({counter}[{WINDOW}])\n"
        f"))"
    )
