"""Tunnels to all replicas of a server that are ready, for as long as a measurement runs: replicas come and go."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from vllm_operator.cli import tunnel
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.gathered import is_ready
from vllm_operator.cli.servers import field, name_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

MOST_TUNNELS = 32
"""Replicas that tunnels are opened to."""

RETRY_SECONDS = 10.0
"""Seconds until a tunnel that could not be opened is tried again."""


class ReplicaTunnels:
    """A tunnel to each replica that is ready. Use it in a `with` block.

    Args:
        cluster: the cluster.
        pods: pods of the server at the beginning.

    Attributes:
        opened: tunnels that were opened so far.
    """

    def __init__(self, cluster: Cluster, pods: Sequence[Mapping[str, Any]]) -> None:
        self._cluster = cluster
        self._pods = pods
        self._tunnels: dict[str, tunnel.PodTunnel] = {}
        self._ready: frozenset[str] = frozenset()
        self._retry_at: dict[str, float] = {}
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._opening: threading.Thread | None = None
        self.opened = 0

    def __enter__(self) -> Self:
        """Open the tunnels to the replicas that are ready.

        Raises:
            CallError: a right is missing, or no replica is reached.
        """
        ready = self._admit(self._pods)
        try:
            for pod in ready:
                self._open(pod)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stack.close()

    def urls(self) -> list[str]:
        """Return the local URLs of the replicas that are ready now."""
        ready = self._ready
        return [opened.url for name, opened in list(self._tunnels.items()) if name in ready]

    def follow(self, pods: Sequence[Mapping[str, Any]]) -> None:
        """Send new requests to the pods that are ready now; tunnels to new ones are opened in the background.

        The tunnel of a replica that is no longer ready stays open, so that its running requests can end.
        """
        now = time.monotonic()
        wanted = [pod for pod in self._admit(pods) if self._retry_at.get(name_of(pod), 0.0) <= now]
        missing = [pod for pod in wanted if name_of(pod) not in self._tunnels]
        if missing and (self._opening is None or not self._opening.is_alive()):
            self._opening = threading.Thread(target=self._open_all, args=(missing,), daemon=True)
            self._opening.start()

    def _admit(self, pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Take note of the pods that are ready and stay; return those that may have a tunnel."""
        ready = [pod for pod in pods if is_ready(pod) and not field(pod, "metadata", "deletionTimestamp")]
        self._ready = frozenset(map(name_of, ready))
        places = MOST_TUNNELS - sum(1 for name in self._tunnels if name not in self._ready)
        return ready[: max(0, places)]

    def _open_all(self, pods: Sequence[Mapping[str, Any]]) -> None:
        for pod in pods:
            try:
                self._open(pod)
            except (CallError, CliError):
                self._retry_at[name_of(pod)] = time.monotonic() + RETRY_SECONDS

    def _open(self, pod: Mapping[str, Any]) -> None:
        opened = tunnel.PodTunnel(self._cluster, pod)
        opened.__enter__()
        with self._lock:
            self._stack.callback(opened.__exit__)
            self._tunnels[name_of(pod)] = opened
            self.opened += 1
