"""Build programs from Go modules, and keep them in the cache by name, version and source.

Modules come from the Go module proxy only; go.sum files pin what a version alone does not pin. An interrupted build
goes on where it stopped, since Go's build cache keeps each compiled package.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tools.localcluster import settings
from tools.localcluster.errors import ClusterError
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked, run

LDFLAGS = "-s -w"
KUBERNETES_COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True)
class Program:
    """A build: packages of a module in `programs/` here, or of a published module (`remote`)."""

    name: str
    version: str
    packages: tuple[str, ...] = (".",)
    remote: bool = False
    tags: str = ""
    ldflags: str = ""
    links: tuple[str, ...] = ()
    # Not in the key of the cache folder: another toolchain compiles the same sources.
    toolchain: str = field(default="", repr=False)

    @property
    def source(self) -> Path:
        """Folder of a module that belongs to this project."""
        return settings.HERE / "programs" / self.name

    def key(self) -> str:
        """Return the name of its cache folder: another version, option or source is another folder."""
        digest = hashlib.sha256(repr(self).encode())
        for path in sorted(self.source.glob("*")) if not self.remote else []:
            digest.update(path.name.encode() + path.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:8]}"


_VERSION = "k8s.io/component-base/version"
_MAJOR, _MINOR = settings.KUBERNETES.split(".")[:2]
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_PROMETHEUS = "github.com/prometheus/prometheus/cmd"
_PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator/cmd"
PROMETHEUS_OPERATOR_COMMANDS = ("operator", "admission-webhook", "prometheus-config-reloader")
_KEDA = "github.com/kedacore/keda/v2/cmd"

LATER_GO = "go1.27.3"
"""Toolchain of modules that need a later Go than the installed one; the go command fetches it as a module."""
ARGOCD_PARTS = ("argocd-application-controller", "argocd-git-ask-pass", "argocd-redis", "argocd-repo-server")

FLUX = {
    "source-controller": settings.FLUX_SOURCE,
    "kustomize-controller": settings.FLUX_KUSTOMIZE,
    "helm-controller": settings.FLUX_HELM,
}

PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "kubernetes",
            settings.KUBERNETES,
            # Without its version a component misjudges which feature gates it knows.
            ldflags=(
                f"-X {_VERSION}.gitVersion=v{settings.KUBERNETES} "
                f"-X {_VERSION}.gitMajor={_MAJOR} "
                f"-X {_VERSION}.gitMinor={_MINOR}"
            ),
            links=KUBERNETES_COMPONENTS,
        ),
        Program(
            "containerd",
            settings.CONTAINERD,
            packages=tuple(f"{_CONTAINERD}/{c}" for c in ("containerd", "containerd-shim-runc-v2", "ctr")),
        ),
        Program("coredns", settings.COREDNS),
        Program("pause", "1"),
        # Stand-ins of vLLM and a load for `make bench-gateway`.
        Program("gateway-load", "1"),
        Program(
            "promtool",
            settings.PROMETHEUS,
            packages=(f"{_PROMETHEUS}/promtool",),
            remote=True,
            tags="remove_all_sd,enable_kubernetes_sd",
        ),
        Program(
            "prometheus",
            settings.PROMETHEUS,
            packages=(f"{_PROMETHEUS}/prometheus",),
            remote=True,
            tags="remove_all_sd,enable_kubernetes_sd",
        ),
        Program(
            "prometheus-operator",
            settings.PROMETHEUS_OPERATOR,
            packages=tuple(f"{_PROMETHEUS_OPERATOR}/{command}" for command in PROMETHEUS_OPERATOR_COMMANDS),
            ldflags=f"-X github.com/prometheus/common/version.Version={settings.PROMETHEUS_OPERATOR}",
        ),
        Program(
            "alertmanager",
            settings.ALERTMANAGER,
            packages=("github.com/prometheus/alertmanager/cmd/alertmanager",),
        ),
        Program(
            "kubeconform",
            settings.KUBECONFORM,
            packages=("github.com/yannh/kubeconform/cmd/kubeconform",),
            remote=True,
        ),
        Program(
            "helm3",
            settings.HELM3,
            packages=("helm.sh/helm/v3/cmd/helm",),
            # Without a version of Kubernetes, Helm 3 renders and lints for 1.20.
            ldflags=" ".join(
                (
                    f"-X helm.sh/helm/v3/internal/version.version=v{settings.HELM3}",
                    *(
                        f"-X helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={value}"
                        for package in ("chartutil", "lint/rules")
                        for part, value in (("Major", _MAJOR), ("Minor", _MINOR))
                    ),
                )
            ),
        ),
        Program(
            "helm4",
            settings.HELM4,
            packages=("helm.sh/helm/v4/cmd/helm",),
            ldflags=f"-X helm.sh/helm/v4/internal/version.version=v{settings.HELM4}",
        ),
        # Checks the compose files that `kubectl vllm render` writes; it needs no Docker engine for that.
        Program("docker-compose", settings.DOCKER_COMPOSE, packages=("github.com/docker/compose/v2/cmd",)),
        Program("kstatus", settings.KSTATUS),
        Program("keda", settings.KEDA, packages=tuple(f"{_KEDA}/{command}" for command in ("operator", "adapter"))),
        Program("olm-validate", settings.OLM_API),
        # Checks the configuration of its metrics of VLLMServers.
        Program(
            "kube-state-metrics",
            settings.KUBE_STATE_METRICS,
            packages=("k8s.io/kube-state-metrics/v2",),
        ),
        Program("argocd", settings.ARGOCD, links=ARGOCD_PARTS, toolchain=LATER_GO),
        *(Program(f"flux-{name}", version, (f"github.com/fluxcd/{name}",)) for name, version in FLUX.items()),
        Program("kind", settings.KIND, packages=("sigs.k8s.io/kind",), remote=True),
        Program(
            "actionlint",
            settings.ACTIONLINT,
            packages=("github.com/rhysd/actionlint/cmd/actionlint",),
            remote=True,
        ),
    )
}

_OWN_NAMES = (
    "coredns",
    "gateway-load",
    "promtool",
    "prometheus",
    "alertmanager",
    "kubeconform",
    "helm3",
    "helm4",
    "kstatus",
    "kube-state-metrics",
    "olm-validate",
    "kind",
    "actionlint",
    "docker-compose",
    "argocd",
    *(f"flux-{name}" for name in FLUX),
)
# Executables that `tool NAME` finds, and the program that each belongs to.
TOOLS = {
    **dict.fromkeys(KUBERNETES_COMPONENTS, "kubernetes"),
    "containerd": "containerd",
    "ctr": "containerd",
    **dict.fromkeys(PROMETHEUS_OPERATOR_COMMANDS[1:], "prometheus-operator"),
    **{name: name for name in _OWN_NAMES},
}

CRD_MODULES = {
    "prometheus-operator": (
        f"github.com/prometheus-operator/prometheus-operator@v{settings.PROMETHEUS_OPERATOR}",
        "example/prometheus-operator-crd",
    ),
    "argocd": (f"github.com/argoproj/argo-cd/v3@v{settings.ARGOCD}", "manifests/crds"),
    **{f"flux-{name}": (f"github.com/fluxcd/{name}@v{version}", "config/crd/bases") for name, version in FLUX.items()},
    "keda": (f"github.com/kedacore/keda/v2@v{settings.KEDA}", "config/crd/bases"),
    "gateway-api": (f"sigs.k8s.io/gateway-api@v{settings.GATEWAY_API}", "config/crd/standard"),
    "karpenter": (f"github.com/aws/karpenter-provider-aws@v{settings.KARPENTER}", "pkg/apis/crds"),
}


def is_built(program: Program, folders: Folders) -> bool:
    """Return whether the cache holds the program."""
    return (folders.programs / program.key()).is_dir()


def built(name: str, folders: Folders) -> Path:
    """Return the folder of the program's executables; build them if the cache lacks them."""
    program = PROGRAMS[name]
    target = folders.programs / program.key()
    if target.is_dir():
        return target
    with locked(folders.programs / f".{name}.lock"):
        if not target.is_dir():
            with step(f"build {name} {program.version} from its Go modules", announce=True):
                _build(program, target)
    return target


def tool(name: str, folders: Folders) -> Path:
    """Return the path of one executable."""
    if name not in TOOLS:
        raise ClusterError(f"unknown tool {name!r}", f"Known: {', '.join(sorted(TOOLS))}.")
    return built(TOOLS[name], folders) / name


def crds(name: str) -> Path:
    """Return the folder of the CRD manifests that a published Go module ships."""
    module, folder = CRD_MODULES[name]
    # A module may ask for a later Go than is installed, and Go then fetches that one, even to unpack files.
    answer = json.loads(run([_go(), "mod", "download", "-json", module], env={"GOTOOLCHAIN": "auto"}))
    return Path(answer["Dir"]) / folder


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise ClusterError(
            "Go is not installed, and programs of the cluster are yet to be built",
            "Install Go 1.26 or later and put it on the PATH (older ones from 1.21 on fetch it themselves).",
        )
    return found


def _build(program: Program, target: Path) -> None:
    work = target.with_name(f".{target.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    flags = ["-trimpath", "-ldflags", f"{LDFLAGS} {program.ldflags}".strip()]
    if program.tags:
        flags += ["-tags", program.tags]
    env = {"CGO_ENABLED": "0", "GOBIN": str(work)} | ({"GOTOOLCHAIN": program.toolchain} if program.toolchain else {})
    if program.remote:
        packages = [f"{package}@v{program.version}" for package in program.packages]
        run([_go(), "install", *flags, *packages], env=env)
    else:
        output = f"{work}/" if len(program.packages) > 1 else work / program.name
        run([_go(), "build", *flags, "-o", output, *program.packages], cwd=program.source, env=env)
    for link in program.links:
        (work / link).symlink_to(program.name)
    work.rename(target)
