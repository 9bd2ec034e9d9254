"""Settings of the operator process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What the command line decides.

    Attributes:
        namespace: the one namespace to serve; None for the whole cluster.
        listen: `host:port` of /healthz, /readyz and /metrics.
        workers: servers that are worked on at once.
    """

    namespace: str | None = None
    listen: str = ":8080"
    workers: int = 32
