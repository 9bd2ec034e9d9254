"""Find the processes of a pod on this machine: the nodes of the local cluster share its process table."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tools.harness.kube import Object


def processes(pod: Object) -> dict[int, str]:
    """Return process ids on this machine and command lines of what runs in a pod, apart from its pause container."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"pod{pod['metadata']['uid']}" in (entry / "cgroup").read_text():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return {pid: words for pid, words in found.items() if words != "/pause"}
