"""One real vLLM of each kind, for all tests of that kind."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine_kinds.kinds import KINDS, EngineKind
from tests.stalled_engine.engine import RealEngine
from tools.localcluster import settings, uv
from tools.localcluster.shell import run
from tools.vllm_releases.environment import QUIET, Environment, install

PACKAGES = ("soundfile==0.14.0", "cffi", "pycparser", "torchvision==0.28.0")
"""Packages that vLLM needs for audio and images. They lie in a folder for these tests: vLLM starts faster without."""


@dataclass(frozen=True)
class Served:
    """A kind of server, and the one that runs."""

    kind: EngineKind
    engine: RealEngine


@pytest.fixture(scope="session")
def environment() -> Environment:
    return install(settings.VLLM)


@pytest.fixture(scope="session")
def packages(environment: Environment) -> Path:
    folder = environment.folder / "media-packages"
    if not folder.is_dir():
        target = ["--python", environment.python, "--target", folder]
        program = uv.program(settings.folders())
        run([program, "pip", "install", "--quiet", "--no-deps", *target, *PACKAGES], env=QUIET)
    return folder


@pytest.fixture(scope="session")
def models(environment: Environment) -> Path:
    recipe, library = Path(__file__).with_name("make_kinds.py"), settings.HERE / "vllm"
    digest = hashlib.sha256(recipe.read_bytes() + (library / "make_models.py").read_bytes()).hexdigest()[:8]
    folder = environment.folder / f"kinds-{digest}"
    if not folder.is_dir():
        made = folder.with_suffix(".new")
        shutil.rmtree(made, ignore_errors=True)
        run([environment.python, recipe, made], env={"PYTHONPATH": str(library)})
        made.rename(folder)
    return folder


@pytest.fixture(scope="module", params=KINDS, ids=str)
def served(
    request: pytest.FixtureRequest, models: Path, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Yield each kind of server, one after the other."""
    kind: EngineKind = request.param
    arguments = [argument.format(models=models) for argument in kind.arguments]
    log = Path(os.environ.get("ENGINE_KINDS_LOGS", tmp_path_factory.mktemp("vllm"))) / f"{kind}.log"
    engine = RealEngine(log, *arguments, model=models / kind.model, names=kind.names, packages=packages)
    with engine:
        yield Served(kind, engine)


@pytest.fixture
def replica(served: Served) -> Iterator[Served]:
    """Yield the server; its engines work at the beginning and at the end of every test."""
    yield served
    served.engine.resume()
