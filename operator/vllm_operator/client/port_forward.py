"""A port-forward to a server by kubectl, which starts again when its pod is gone."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import weakref
from typing import IO

from vllm_operator.client.errors import ConnectionFailed

START_SECONDS = 30.0
"""Seconds until the first port must be open: kubectl may run a program that logs in to the cluster."""
MAX_DELAY = 10.0
"""Longest pause in seconds before kubectl starts again. The first one is 0.2, and each one is twice the last."""
MAX_LINE_BYTES = 4096
KEPT_LINES = 5
"""Lines of kubectl that an error quotes."""
OPENED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> ")
BROKEN = re.compile(r"lost connection to pod|an error occurred forwarding")
"""Lines of kubectl 1.20 to 1.37 after which the forward to this pod does not work any more."""
KUBECTL = "kubectl"


class PortForward:
    """Forwards a local port to the Service of a server, until it is closed.

    Attributes:
        url: local base URL. It stays the same when kubectl starts again.
    """

    def __init__(self, namespace: str, service: str, port: int, context: str | None = None) -> None:
        """Prepare a forward; nothing is started yet."""
        self._local = _free_port()
        self.url = f"http://127.0.0.1:{self._local}"
        target = [f"--namespace={namespace}"] if namespace else []
        login = [f"--context={context}"] if context is not None else []
        self._command = [KUBECTL, *login, *target, "port-forward", "--address=127.0.0.1"]
        self._command += [f"service/{service}", f"{self._local}:{port}"]
        self._state = _ForwardState()
        self._thread = threading.Thread(
            target=_supervise, args=(self._command, self._state), name="vllm-port-forward", daemon=True
        )
        self._finalizer = weakref.finalize(self, self._state.close)

    @property
    def restarts(self) -> int:
        """How often kubectl was started again."""
        return max(0, self._state.starts - 1)

    def start(self) -> None:
        """Start kubectl, and wait until the port is open.

        Raises:
            ConnectionFailed: there is no kubectl, it fails, or the port does not open in time.
        """
        if shutil.which(KUBECTL) is None:
            raise ConnectionFailed(
                f"outside a cluster, {KUBECTL} forwards a port to the server, and it is not installed: install it, or "
                "make the server reachable and pass its base URL"
            )
        self._thread.start()
        self._state.settled.wait(START_SECONDS)
        if not self._state.is_open:
            self.close()
            said = " ".join(self._state.lines) or f"it opened no port within {START_SECONDS:g} s"
            raise ConnectionFailed(f"{KUBECTL} cannot forward a port to the server: {said}", endpoint=self.url)

    def close(self) -> None:
        """End kubectl, and wait for its end."""
        self._finalizer()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()


class _ForwardState:
    """The state that the thread and the owner of a forward share."""

    def __init__(self) -> None:
        self.settled = threading.Event()
        """The first port is open, or the first kubectl has ended."""
        self.closed = threading.Event()
        self.is_open = False
        self.starts = 0
        self.lines: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(self, command: list[str]) -> IO[bytes] | None:
        """Start a process, and return its output; None when the forward is closed."""
        with self._lock:
            if self.closed.is_set():
                return None
            self.starts += 1
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            return self._process.stdout

    def kill(self) -> None:
        """End the process, if it runs."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """End the process, and start no other one."""
        self.closed.set()
        self.kill()


def _supervise(command: list[str], state: _ForwardState) -> None:
    """Run kubectl again and again, until the forward is closed or its first start fails."""
    delay = 0.2
    while not state.closed.is_set():
        try:
            output = state.run(command)
        except OSError as error:
            state.lines = [str(error.strerror)]
            output = None
        if output is not None and _follow(output, state):
            delay = 0.2
        state.kill()
        if not state.is_open:
            break
        state.closed.wait(delay)
        delay = min(MAX_DELAY, delay * 2)
    state.settled.set()


def _follow(output: IO[bytes], state: _ForwardState) -> bool:
    """Read what kubectl prints, until it ends or its pod is gone. Return whether it had opened the port."""
    opened = False
    with output:
        while line := output.readline(MAX_LINE_BYTES):
            text = "".join(c if c.isprintable() else " " for c in line.decode(errors="replace")).strip()
            state.lines = [*state.lines, text[:300]][-KEPT_LINES:]
            if OPENED.match(text):
                opened = state.is_open = True
                state.settled.set()
            elif BROKEN.search(text):
                break
    return opened


def _free_port() -> int:
    """Return a local port that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
