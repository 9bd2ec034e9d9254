"""Releases of the charts on a real API server, and what is left of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.alone import CRD
from tools.chart.files import OPERATOR
from tools.chart.helm import Helm, HelmError
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import OperatorProcess

RELEASE = "vllm-operator"
SELECTOR = "app.kubernetes.io/name=vllm-operator"


@dataclass(frozen=True)
class Releases:
    """Helm on a cluster."""

    helm: Helm
    kube: Kube

    def install(
        self, namespace: str, *options: str, release: str = RELEASE, chart: Path = OPERATOR, **values: Any
    ) -> str:
        """Install a release; return its notes."""
        return self._run("install", release, str(chart), namespace, *options, values=values)

    def upgrade(
        self, namespace: str, *options: str, release: str = RELEASE, chart: Path = OPERATOR, **values: Any
    ) -> str:
        """Upgrade a release; return its notes."""
        return self._run("upgrade", release, str(chart), namespace, *options, values=values)

    def rollback(self, namespace: str, revision: int, release: str = RELEASE) -> None:
        """Go back to a revision."""
        self.helm.run("rollback", release, str(revision), "--namespace", namespace)

    def uninstall(self, namespace: str, release: str = RELEASE) -> str:
        """Uninstall a release."""
        return self.helm.run("uninstall", release, "--namespace", namespace)

    def refused(self, namespace: str, *options: str, **values: Any) -> str:
        """Return the message with which an install is refused."""
        try:
            self.install(namespace, *options, **values)
        except HelmError as error:
            return str(error)
        raise AssertionError("the install was to be refused")

    def revision(self, namespace: str, release: str = RELEASE) -> tuple[int, str]:
        """Return revision and state of a release."""
        found = json.loads(self.helm.run("list", "--namespace", namespace, "--output", "json"))
        (one,) = [row for row in found if row["name"] == release]
        return int(one["revision"]), one["status"]

    def _run(self, command: str, release: str, chart: str, namespace: str, *options: str, values: Any) -> str:
        text = self.helm.run(command, release, chart, "--namespace", namespace, *options, values=values)
        return text.partition("NOTES:")[2]

    def leftovers(self) -> set[str]:
        """Return every object of the cluster with the labels of the chart, as kind/namespace/name."""
        names = self.kube.kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split()
        # Events have no labels of the chart, and two groups list each of them.
        wanted = ",".join(name for name in names if not name.startswith("events") and name != "componentstatuses")
        text = self.kube.kubectl("get", wanted, "-A", "-l", SELECTOR, "-o", "json", "--ignore-not-found").stdout
        items = json.loads(text)["items"] if text.strip() else []
        return {
            f"{one['kind']}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
            for one in items
            if not one["metadata"].get("ownerReferences")
        }

    def remove_all(self) -> None:
        """Uninstall every release, and delete the CRD with every server."""
        for row in json.loads(self.helm.run("list", "--all-namespaces", "--output", "json")):
            self.helm.run("uninstall", row["name"], "--namespace", row["namespace"])
        self.kube.delete_crd(CRD)


def lend(kube: Kube, namespace: str, path: Path, account: str = RELEASE) -> Path:
    """Write a kubeconfig with the rights of a service account that a release created."""
    token = kube.kubectl("-n", namespace, "create", "token", account, "--duration=1h").stdout.strip()
    return with_user(kube, path, {"token": token})


def with_user(kube: Kube, path: Path, user: Object) -> Path:
    """Write a kubeconfig for another user of the cluster."""
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["users"][0]["user"] = user
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def operator(kube: Kube, kubeconfig: Path, *arguments: str) -> Iterator[OperatorProcess]:
    """Run the operator with the rights of a release."""
    process = OperatorProcess(kubeconfig, kubeconfig.with_suffix(".log"), arguments)
    kube.reports.append(process.tail)
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        kube.reports.remove(process.tail)
        process.kill()


def older_chart(chart: Path, version: str, without: str) -> Path:
    """Make a chart the one of an older version, whose CRD lacks a field of the spec; return it."""
    for name in ("version", "appVersion"):
        path = chart / "Chart.yaml"
        lines = [
            f"{name}: {version}" if line.startswith(f"{name}:") else line for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")
    template = chart / "templates" / "crd.yaml"
    head, _, rest = template.read_text().partition("\nspec:\n")
    body = yaml.safe_load("spec:\n" + rest.removesuffix("{{- end }}\n"))
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"][without]
    template.write_text(f"{head}\n{yaml.safe_dump(body, width=1000)}{{{{- end }}}}\n")
    return chart
