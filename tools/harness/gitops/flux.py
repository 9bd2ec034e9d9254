"""Flux: its source, kustomize and helm controllers as processes, and its objects in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.harness.background import Background
from tools.harness.gitops.objects import condition, find, names
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import free_port
from tools.localcluster import build, settings

NAMESPACE = "flux-system"
GIT = "gitrepositories.source.toolkit.fluxcd.io"
KUSTOMIZATION = "kustomizations.kustomize.toolkit.fluxcd.io"
RELEASE = "helmreleases.helm.toolkit.fluxcd.io"
CONTROLLERS = ("source-controller", "kustomize-controller", "helm-controller")
CRD_SECONDS = 120
"""Longest time until an API server on a busy machine serves the CRDs."""
REQUEUE_SECONDS = 2
"""Time after which a Kustomization looks again whether what it depends on is ready; 30 s by default."""
CANCEL = "CancelHealthCheckOnNewRevision"
"""Feature of the kustomize controller: else a commit waits until the servers of the commit before are ready."""
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"


@dataclass(frozen=True)
class Flux:
    """Flux, as its users see it."""

    kube: Kube
    programs: Background

    def apply(self, *objects: Object) -> None:
        """Apply objects of Flux."""
        for one in objects:
            self.kube.apply(one, "--server-side", "--force-conflicts", namespace=NAMESPACE)

    def ready(self, resource: str, name: str) -> Object:
        """Return the condition Ready of the present generation; an empty one where there is none."""
        found = find(self.kube, resource, name, NAMESPACE)
        ready = condition(found, "Ready")
        return ready if ready.get("observedGeneration") == found.get("metadata", {}).get("generation") else {}

    def wait(self, resource: str, name: str, status: str, within: float) -> str:
        """Wait for a status of the condition Ready; return its message."""

        def reached() -> str:
            found = self.ready(resource, name)
            assert found.get("status") == status, found
            return str(found["message"])

        return self.kube.eventually(reached, within=within)

    def refresh(self, resource: str, name: str, at: str) -> None:
        """Ask for a reconcile, as `flux reconcile` does."""
        self.kube.kubectl("-n", NAMESPACE, "annotate", resource, name, f"{REQUESTED_AT}={at}", "--overwrite")

    def delete(self, resource: str, name: str, within: float = 180) -> None:
        """Delete an object with all that it applied."""
        self.kube.kubectl("-n", NAMESPACE, "delete", resource, name, f"--timeout={within:.0f}s", timeout=within + 30)


@contextmanager
def flux(kube: Kube, folder: Path) -> Iterator[Flux]:
    """Install Flux for the length of the block.

    Args:
        kube: the cluster.
        folder: for logs and artifacts.
    """
    background = Background(
        folder, {"KUBECONFIG": str(kube.kubeconfig), "RUNTIME_NAMESPACE": NAMESPACE, "HOME": str(folder)}
    )
    _install(kube)
    kube.reports.append(background.tails)
    try:
        _start(background, folder)
        yield Flux(kube, background)
    finally:
        kube.reports.remove(background.tails)
        background.stop()
        _remove(kube)


def _install(kube: Kube) -> None:
    for file in _crd_files():
        kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
    kube.eventually(lambda: _established(kube), within=CRD_SECONDS)
    kube.kubectl("create", "namespace", NAMESPACE)


def _crd_files() -> list[Path]:
    return [file for name in CONTROLLERS for file in sorted(build.crds(f"flux-{name}").glob("*.yaml"))]


def _established(kube: Kube) -> None:
    # kubectl itself fails where a CRD has no status yet.
    kube.kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in _crds()), "--timeout=20s")


def _crds() -> list[str]:
    """Return the names of the CRDs: the files are called `<group>_<plural>.yaml`."""
    return [".".join(reversed(file.stem.split("_", 1))) for file in _crd_files()]


def _start(background: Background, folder: Path) -> None:
    (folder / "artifacts").mkdir()
    storage = f"127.0.0.1:{free_port()}"
    more = {
        "source-controller": [
            f"--storage-path={folder / 'artifacts'}", f"--storage-addr={storage}", f"--storage-adv-addr={storage}",
        ],
        "kustomize-controller": [f"--requeue-dependency={REQUEUE_SECONDS}s", f"--feature-gates={CANCEL}=true"],
        "helm-controller": [f"--requeue-dependency={REQUEUE_SECONDS}s"],
    }  # fmt: skip
    for name in CONTROLLERS:
        command = [str(build.tool(f"flux-{name}", settings.folders())), "--log-level=info", "--events-addr="]
        command += [f"--metrics-addr=127.0.0.1:{free_port()}", f"--health-addr=127.0.0.1:{free_port()}"]
        background.start(name, [*command, *more[name]])


def _remove(kube: Kube) -> None:
    for resource in (KUSTOMIZATION, RELEASE, "helmcharts.source.toolkit.fluxcd.io", GIT):
        for one in names(kube, resource, NAMESPACE):
            kube.kubectl("-n", NAMESPACE, "patch", one, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    kube.kubectl("delete", "crd", *_crds(), "--ignore-not-found", "--timeout=60s")
