"""Run the real Helm, of both major versions, without the settings of the user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

TIMEOUT_SECONDS = 300.0


class HelmError(Exception):
    """Helm ended with an error; the message is what it printed."""


@dataclass(frozen=True)
class Helm:
    """One Helm program, with the cluster of a kubeconfig or without one.

    Attributes:
        program: path of the executable.
        home: folder of its caches and settings, so that those of the user are neither read nor changed.
        kubeconfig: the cluster; None for what needs none.
    """

    program: Path
    home: Path
    kubeconfig: Path | None = None

    @property
    def major(self) -> int:
        """Return the major version, as the name of the program says."""
        return int(self.program.name.removeprefix("helm"))

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run a command with these values and return what it prints.

        Raises:
            HelmError: it failed.
        """
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        environment |= {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        # Without a cluster, Helm must not find that of the user.
        environment["KUBECONFIG"] = str(self.kubeconfig or self.home / "no-cluster")
        command = [str(self.program), *arguments, *(["--values", "-"] if values is not None else [])]
        done = subprocess.run(
            command,
            input=yaml.safe_dump(dict(values)) if values is not None else None,
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT_SECONDS,
        )
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def template(
        self, chart: Path, *arguments: str, release: str, namespace: str, values: Mapping[str, Any] | None = None
    ) -> list[Object]:
        """Return the objects of a release, without those of its tests."""
        fixed = ["--namespace", namespace, "--skip-tests"]
        text = self.run("template", release, str(chart), *fixed, *arguments, values=values or {})
        return [body for body in yaml.safe_load_all(text) if body]
