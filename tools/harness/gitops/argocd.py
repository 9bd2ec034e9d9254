"""Argo CD: its application controller and its repo server as processes, and its objects in the cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.harness.background import Background
from tools.harness.gitops.objects import find, names
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import free_port
from tools.localcluster import build, settings

NAMESPACE = "argocd"
APPLICATION = "application.argoproj.io"
CRDS = ("applications.argoproj.io", "applicationsets.argoproj.io", "appprojects.argoproj.io")
FINALIZER = "resources-finalizer.argocd.argoproj.io"
"""With it, the deletion of an Application deletes what it applied: `argocd app delete --cascade` sets it."""
REFRESH = "argocd.argoproj.io/refresh"
HEALTH = settings.REPOSITORY / "docs" / "how-to" / "argocd-health.lua"
HEALTH_OF_APPLICATIONS = HEALTH.with_name("argocd-application-health.lua")
"""Without it, the sync waves of an app of apps do not wait."""
KUSTOMIZE = """\
#!/bin/sh
case "$1" in
build) shift; exec {kubectl} kustomize "$@" ;;
version) echo v5.8.1 ;;
*) echo "kustomize $1: not part of these tests" >&2; exit 1 ;;
esac
"""
"""kubectl holds the code of kustomize, so the tests need no second program of it."""
RESYNC_SECONDS = 10
CRD_SECONDS = 120
"""Longest time until an API server on a busy machine serves the large CRDs of Argo CD."""


@dataclass(frozen=True)
class ArgoCd:
    """Argo CD, as its users see it."""

    kube: Kube
    programs: Background

    def apply(self, *applications: Object) -> None:
        """Apply Applications."""
        for one in applications:
            self.kube.apply(one, "--server-side", "--force-conflicts", namespace=NAMESPACE)

    def application(self, name: str) -> Object:
        """Return an Application; an empty one where it does not exist."""
        return find(self.kube, APPLICATION, name, NAMESPACE)

    def state(self, name: str) -> tuple[str, str]:
        """Return sync status and health of an Application."""
        status = self.application(name).get("status") or {}
        return status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", "")

    def resources(self, name: str) -> dict[str, tuple[str, str]]:
        """Return sync status and health of each object of an Application, by kind and name."""
        status = self.application(name).get("status") or {}
        return {
            f"{one['kind']}/{one['name']}": (one.get("status", ""), one.get("health", {}).get("status", ""))
            for one in status.get("resources") or []
        }

    def refresh(self, name: str) -> None:
        """Compare again, and render the manifests again; wait until it is done."""
        before = (self.application(name).get("status") or {}).get("reconciledAt")
        # The time of a comparison is given in whole seconds.
        time.sleep(1.1)
        self.kube.kubectl("-n", NAMESPACE, "annotate", APPLICATION, name, f"{REFRESH}=hard", "--overwrite")

        def compared() -> bool:
            found = self.application(name)
            asked = REFRESH in (found["metadata"].get("annotations") or {})
            return not asked and (found.get("status") or {}).get("reconciledAt") != before

        self.kube.eventually(compared, within=60)

    def wait(self, name: str, expected: tuple[str, str], within: float) -> None:
        """Wait for a sync status and a health."""

        def reached() -> None:
            assert self.state(name) == expected, (self.application(name).get("status"), self.resources(name))

        self.kube.eventually(reached, within=within)

    def delete(self, name: str, within: float = 120) -> None:
        """Delete an Application with all that it applied, as `argocd app delete` does."""
        patch = f'{{"metadata":{{"finalizers":["{FINALIZER}"]}}}}'
        self.kube.kubectl("-n", NAMESPACE, "patch", APPLICATION, name, "--type=merge", "-p", patch)
        self.kube.kubectl("-n", NAMESPACE, "delete", APPLICATION, name, f"--timeout={within:.0f}s", timeout=within + 30)


@contextmanager
def argo_cd(kube: Kube, folder: Path, *, health_script: bool = True) -> Iterator[ArgoCd]:
    """Install Argo CD for the length of the block; it renders with Helm 4, and with kubectl in the place of kustomize.

    Args:
        kube: the cluster.
        folder: for logs and checkouts.
        health_script: configure the health of VLLMServers as the documentation says.
    """
    background = Background(folder, _environment(kube, folder))
    _install(kube, health_script)
    found = ArgoCd(kube, background)
    kube.reports.append(background.tails)
    try:
        _start(background, _links(folder))
        yield found
    finally:
        kube.reports.remove(background.tails)
        background.stop()
        _remove(kube)


def _links(folder: Path) -> Path:
    """Link the programs by the names under which Argo CD calls them; return the folder of the links."""
    links = folder / "bin"
    links.mkdir()
    folders = settings.folders()
    for name in ("argocd", *build.ARGOCD_PARTS):
        (links / name).symlink_to(build.tool("argocd", folders))
    (links / "helm").symlink_to(build.tool("helm4", folders))
    module = build.crds("argocd").parents[1]
    scripts = {
        "kustomize": KUSTOMIZE.format(kubectl=build.tool("kubectl", folders)),
        # The repo server calls it for each commit, signed or not.
        "git-verify-wrapper.sh": (module / "hack" / "git-verify-wrapper.sh").read_text(),
    }
    for name, text in scripts.items():
        (links / name).write_text(text)
        (links / name).chmod(0o755)
    return links


def _environment(kube: Kube, folder: Path) -> dict[str, str]:
    paths = {f"ARGOCD_{name}_DATA_PATH": str(folder / name.lower()) for name in ("TLS", "SSH", "GPG")}
    for name in ("tls", "ssh", "gpg", "home", "tmp"):
        (folder / name).mkdir()
    (folder / "ssh" / "ssh_known_hosts").touch()
    return {
        **paths,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "KUBECONFIG": str(kube.kubeconfig),
        # https://kubernetes.default.svc is then the cluster of the kubeconfig.
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_APPLICATION_CONTROLLER_REPO_SERVER_PLAINTEXT": "true",
    }


def _install(kube: Kube, health_script: bool) -> None:
    crds = build.crds("argocd")
    kube.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(crds))
    kube.eventually(lambda: _established(kube), within=CRD_SECONDS)
    kube.kubectl("create", "namespace", NAMESPACE)
    kube.kubectl("-n", NAMESPACE, "apply", "-k", str(crds.parent / "base" / "config"))
    kube.patch("Secret", "argocd-secret", NAMESPACE, {"stringData": {"server.secretkey": "key-of-the-tests"}})
    data = {"resource.customizations.health.argoproj.io_Application": HEALTH_OF_APPLICATIONS.read_text()}
    if health_script:
        data["resource.customizations.health.vllm-operator.dev_VLLMServer"] = HEALTH.read_text()
    kube.patch("ConfigMap", "argocd-cm", NAMESPACE, {"data": data})
    project = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default"},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    }
    kube.apply(project, namespace=NAMESPACE)


def _established(kube: Kube) -> None:
    # kubectl itself fails where a CRD has no status yet.
    kube.kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in CRDS), "--timeout=20s")


def _start(background: Background, links: Path) -> None:
    redis, repository, metrics, controller = (free_port() for _ in range(4))
    background.start("argocd-redis", [links / "argocd-redis", f"127.0.0.1:{redis}"])
    address = ("--address=127.0.0.1", f"--port={repository}", "--metrics-address=127.0.0.1")
    background.start(
        "argocd-repo-server",
        [
            links / "argocd-repo-server",
            *address,
            f"--metrics-port={metrics}",
            "--disable-tls",
            "--client-ca-path=",
            f"--redis=127.0.0.1:{redis}",
        ],
    )
    background.start(
        "argocd-application-controller",
        [
            links / "argocd-application-controller",
            f"--namespace={NAMESPACE}",
            f"--redis=127.0.0.1:{redis}",
            f"--repo-server=127.0.0.1:{repository}",
            f"--metrics-port={controller}",
            f"--app-resync={RESYNC_SECONDS}",
            "--app-resync-jitter=0",
            "--persist-resource-health",
            "--self-heal-timeout-seconds=1",
        ],
    )


def _remove(kube: Kube) -> None:
    for one in names(kube, APPLICATION, NAMESPACE):
        kube.kubectl("-n", NAMESPACE, "patch", one, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    kube.kubectl("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=60s")
