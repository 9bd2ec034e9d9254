"""Run the installed program `kubectl-vllm`, on pipes and on terminals, and keep what it prints."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.plugin import Ended
from tests.helpers.signals import default_interrupt

PROGRAM = Path(sys.executable).parent / "kubectl-vllm"
OFFLINE = frozenset({"plan", "completion"})
"""Commands without a namespace."""

SECONDS = 600.0
"""Longest time of a command."""


@dataclass(frozen=True)
class Program:
    """The program, with the kubeconfig and the namespace of the tests.

    Attributes:
        kubeconfig: the kubeconfig, for KUBECONFIG.
        namespace: namespace for `-n`.
        transcript: file that the commands and their outputs are added to; None for standard output.
    """

    kubeconfig: Path
    namespace: str
    transcript: Path | None = None

    def run(self, *words: str, stdin: str = "", **environment: str) -> Ended:
        """Run a command on pipes."""
        done = subprocess.run(
            self._command(words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=self._environment(environment),
        )
        ended = Ended(done.returncode, done.stdout, done.stderr)
        self._keep(words, ended.stdout + ended.stderr, ended.code)
        return ended

    def interrupted(self, *words: str, after: str = "", seconds: float = 60.0) -> Ended:
        """Run a command on pipes, and press ctrl-C when its output has a text, or has anything at all."""
        process = subprocess.Popen(
            self._command(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment({}),
            preexec_fn=default_interrupt,
        )
        assert process.stdout is not None
        shown = _until(process.stdout.fileno(), after, seconds)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        text = (shown + rest).decode("utf-8", "replace")
        self._keep(words, text + "^C", process.returncode)
        return Ended(process.returncode, text, "")

    def on_terminal(
        self, *words: str, after: str, keys: bytes = b"\x03", columns: int = 100, lines: int = 30, **environment: str
    ) -> Ended:
        """Run a command on a terminal, and press keys (ctrl-C unless given) when the screen has shown a text."""
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = subprocess.Popen(
            self._command(words),
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
            env=self._environment({"TERM": "xterm-256color", **environment}),
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(child)
        try:
            shown = _until(parent, after, 90.0)
            os.write(parent, keys)
            shown += _until(parent, "", 60.0, whole=True)
            code = process.wait(timeout=30)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(parent)
        text = shown.decode("utf-8", "replace")
        self._keep(words, f"(on a terminal of {columns} columns)\n{text}", code)
        return Ended(code, text, "")

    def _command(self, words: tuple[str, ...]) -> list[str]:
        is_chosen = words[0] in OFFLINE or not {"-n", "-A"}.isdisjoint(words)
        return [str(PROGRAM), *words, *([] if is_chosen else ["-n", self.namespace])]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), **more}

    def _keep(self, words: tuple[str, ...], text: str, code: int) -> None:
        shown = f"$ kubectl vllm {' '.join(words)}\n{text.rstrip()}\n(exit code {code})\n\n"
        if self.transcript is None:
            print(shown)
        else:
            with self.transcript.open("a") as file:
                file.write(shown)


def _until(descriptor: int, text: str, seconds: float, *, whole: bool = False) -> bytes:
    """Read until a text has come, or anything if it is empty; the whole output with `whole`."""
    deadline, shown = time.monotonic() + seconds, b""
    while time.monotonic() < deadline:
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(descriptor, 65536)
        except OSError as error:
            # Linux answers so when the other side of a terminal is closed.
            if error.errno != errno.EIO:
                raise
            return shown
        if not part:
            return shown
        shown += part
        if not whole and text.encode() in shown:
            return shown
    raise AssertionError(f"{text!r} was not shown within {seconds:g} s, but {shown[-2000:]!r}")
