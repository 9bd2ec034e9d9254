"""Find out whether Envoy took the files of the agent: it keeps its former configuration when it refuses a new one."""

from __future__ import annotations

import re

import aiohttp

ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 4_194_304
"""Two lines for each cluster."""
MAX_REFUSED = 16
_LINE = re.compile(r"^(.+)\.update_(success|rejected): ([0-9]+)$", re.MULTILINE)


class EnvoyRefusals:
    """The parts of the configuration that Envoy refuses.

    Args:
        admin_socket: Unix socket of Envoy's administration.

    Attributes:
        refused: their names, sorted; empty also before the first answer.
    """

    def __init__(self, admin_socket: str) -> None:
        self._socket = admin_socket
        self._counts: dict[tuple[str, str], int] = {}
        self._refused: set[str] = set()

    @property
    def refused(self) -> list[str]:
        """Return the names of the refused parts, sorted and bounded."""
        return sorted({part_of(source) for source in self._refused})[:MAX_REFUSED]

    async def refresh(self) -> bool:
        """Read Envoy's counters; return whether the refused parts changed.

        Raises:
            aiohttp.ClientError, TimeoutError: Envoy does not answer.
        """
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        connector = aiohttp.UnixConnector(self._socket)
        async with (
            aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout) as session,
            session.get("/stats?filter=update_(success|rejected)$") as response,
        ):
            return self.read((await response.content.read(MAX_ANSWER_BYTES)).decode(errors="replace"))

    def read(self, text: str) -> bool:
        """Compare the counters with the former ones; return whether the refused parts changed."""
        before = self.refused
        counts = {(source, kind): int(value) for source, kind, value in _LINE.findall(text)}
        sources = {source for source, _ in counts}
        for source in sources:
            if self._rose(counts, source, "rejected"):
                self._refused.add(source)
            elif self._rose(counts, source, "success"):
                self._refused.discard(source)
        self._refused &= sources
        self._counts = counts
        return before != self.refused

    def _rose(self, counts: dict[tuple[str, str], int], source: str, kind: str) -> bool:
        former = self._counts.get((source, kind), 0)
        value = counts.get((source, kind), 0)
        # A restarted Envoy counts from zero.
        return value > former or 0 < value < former


def part_of(source: str) -> str:
    """Return the name of a part of the configuration from the name of its counter."""
    if source == "listener_manager.lds":
        return "listeners"
    if source == "cluster_manager.cds":
        return "clusters"
    if ".rds." in source:
        return "routes"
    if source.startswith("cluster."):
        return f"endpoints of {source.removeprefix('cluster.')}"
    return "certificate" if "sds" in source or "tls" in source else source
