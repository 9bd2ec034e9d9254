"""Record every status that a server has, and its time."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from tools.harness.kube import Kube, Object


@dataclass(frozen=True)
class Seen:
    """A server as the watch sent it; `at` is the monotonic second of its arrival, `clock` the second since 1970."""

    at: float
    clock: float
    server: Object

    @property
    def status(self) -> Object:
        return self.server.get("status") or {}

    @property
    def is_current(self) -> bool:
        """Return whether the status is of the present generation."""
        return self.status.get("observedGeneration") == self.server["metadata"]["generation"]


@dataclass
class StatusWatch:
    """`kubectl get vllmservers --watch` of one namespace, with everything that it printed."""

    kube: Kube
    namespace: str
    seen: defaultdict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    process: subprocess.Popen[str] | None = None
    _news: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> StatusWatch:
        command = [str(self.kube.program), f"--kubeconfig={self.kube.kubeconfig}", "-n", self.namespace]
        command += ["get", "vllmservers", "--watch", "-o", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(10)

    def latest(self, name: str) -> Seen | None:
        """The newest that is known of a server."""
        return self.seen[name][-1] if self.seen[name] else None

    def mark(self, name: str) -> int:
        """Return the position in the history of a server for `since`."""
        return len(self.seen[name])

    def since(self, name: str, mark: int) -> list[Seen]:
        """Return the changes after a mark, each with a status that differs from the one before it."""
        history = self.seen[name][max(mark - 1, 0) :]
        return [after for before, after in itertools.pairwise(history) if before.status != after.status]

    def wait_news(self, seconds: float) -> None:
        """Return when something arrives, at the latest after these seconds."""
        with self._news:
            self._news.wait(seconds)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _read(self, stream: IO[str]) -> None:
        for server in documents(stream):
            with self._news:
                self.seen[server["metadata"]["name"]].append(Seen(time.monotonic(), time.time(), server))
                self._news.notify_all()


def documents(stream: IO[str]) -> Iterator[Object]:
    """The JSON objects of a stream; each ends with a line that holds nothing but its closing brace."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line.rstrip("\n") == "}":
            yield json.loads("".join(lines))
            lines = []
