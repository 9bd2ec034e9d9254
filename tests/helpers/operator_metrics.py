"""The operator's metrics: as documented, and as a running operator exports them."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tools.localcluster import settings

DOCUMENT = settings.REPOSITORY / "docs" / "reference" / "metrics.md"


@dataclass(frozen=True)
class Row:
    """A documented metric."""

    type: str
    labels: tuple[str, ...]


SERVERS_HEADING = "## Metrics of servers"


def documented() -> dict[str, Row]:
    """Name -> what docs/reference/metrics.md says of it; without the metrics of servers."""
    return _rows(DOCUMENT.read_text().partition(SERVERS_HEADING)[0])


def documented_of_servers() -> dict[str, Row]:
    """The same for the metrics of servers, which are an option."""
    return _rows(DOCUMENT.read_text().partition(SERVERS_HEADING)[2])


def _rows(text: str) -> dict[str, Row]:
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\|", text, re.MULTILINE)
    return {name: Row(kind, tuple(sorted(re.findall(r"`(\w+)`", labels)))) for name, kind, labels in found}


@dataclass(frozen=True)
class Scrape:
    """The samples of one answer of /metrics."""

    families: dict[str, Metric]

    @classmethod
    def of(cls, port: int) -> Scrape:
        """Ask a running operator."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return cls({f"{one.name}_total" if one.type == "counter" else one.name: one for one in families})

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Values of the labels, in the order of the labels' names -> value."""
        samples = self.families[name].samples
        return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in samples}

    def value(self, name: str, *labels: str) -> float:
        """One sample; 0 when there is none."""
        return self.samples(name).get(labels, 0.0)
