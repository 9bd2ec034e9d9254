"""The parts of a cluster that take long to build, each with its measured time; missing ones are built side by side."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tools.localcluster import build, envoy_image, images, operator_image, settings, shell, vllm_image
from tools.localcluster.durations import Durations
from tools.localcluster.errors import ClusterError
from tools.localcluster.report import say
from tools.localcluster.settings import Folders

MEASURED_CORES = 2
"""Cores of the machine that the default times were measured on, one part after the other."""
OVERLAP = 0.75
"""Share of the summed times that builds side by side take on two cores: they leave no core idle."""
BACKGROUND_NICENESS = 10
JOIN_SECONDS = 10.0
"""Longest wait for the end of a build that is interrupted."""


@dataclass(frozen=True)
class Part:
    """A program or an image in the cache.

    Attributes:
        label: name and version for the user.
        seconds: measured build time with empty caches, on `MEASURED_CORES` cores.
        is_built: returns whether the cache holds it.
        build: builds it.
        is_longest: the other parts leave the processor to it and take what it leaves idle.
    """

    name: str
    label: str
    seconds: float
    is_built: Callable[[Folders], bool]
    build: Callable[[Folders], object]
    is_longest: bool = False

    def expected_seconds(self, folders: Folders) -> float:
        """Return the seconds that a build takes on this machine: those of the last one, or the scaled default."""
        scale = max(MEASURED_CORES / (os.cpu_count() or 1), 0.25)
        return Durations(folders.durations).seconds(self.name, self.seconds * scale)


def _program(name: str, seconds: float, is_longest: bool = False) -> Part:
    program = build.PROGRAMS[name]
    return Part(
        name,
        f"{name} {program.version}",
        seconds,
        lambda folders: build.is_built(program, folders),
        lambda folders: build.built(name, folders),
        is_longest,
    )


def _label(image: str) -> str:
    return f"image {image.removeprefix('localhost/')}"


def _program_image(image: images.ProgramImage, seconds: float) -> Part:
    return Part(image.program, _label(image.name), seconds, image.is_built, image.layout)


PARTS = {
    part.name: part
    for part in (
        _program("kubernetes", 532, is_longest=True),
        _program("containerd", 64),
        *(_program_image(image, 75 if image.program == "coredns" else 1) for image in images.SYSTEM_IMAGES),
        Part("vllm-image", _label(settings.VLLM_IMAGE), 95, vllm_image.is_built, vllm_image.layout),
        Part("operator-image", _label(settings.OPERATOR_IMAGE), 28, operator_image.is_built, operator_image.layout),
        Part("envoy-image", _label(settings.ENVOY_IMAGE), 5, envoy_image.is_built, envoy_image.layout),
        _program("promtool", 50),
        _program("helm3", 90),
        _program("helm4", 195),
        _program("kstatus", 20),
        _program("olm-validate", 60),
    )
}
CLUSTER = ("kubernetes", "containerd", *(image.program for image in images.SYSTEM_IMAGES))
"""Parts that a local cluster needs to start. The demo itself works without CoreDNS, but built next to Kubernetes it
costs no time, and a cluster without DNS would surprise users who try more than the demo."""
DEMO = (*CLUSTER, "vllm-image", "operator-image")
CHARTS = ("helm3", "helm4", "kstatus", "olm-validate")
"""Parts that the tests of the charts need."""
API_TEST = ("kubernetes", "promtool", *CHARTS)
"""Parts that the tests need where no cluster can run."""
PURPOSES = {"demo": DEMO, "test": (*DEMO, "envoy-image", "promtool", *CHARTS)}


def missing(names: Iterable[str], folders: Folders) -> list[Part]:
    """Return the parts that the cache lacks."""
    return [part for part in map(PARTS.__getitem__, names) if not part.is_built(folders)]


def expected_seconds(parts: Sequence[Part], folders: Folders) -> float:
    """Return the seconds that these parts take side by side."""
    times = [part.expected_seconds(folders) for part in parts]
    estimate = max([*times, OVERLAP * sum(times)], default=0.0)
    return Durations(folders.durations).seconds(_together(parts), estimate)


def build_missing(names: Iterable[str], folders: Folders) -> None:
    """Build the parts that the cache lacks, side by side.

    A part that fails stops no other: what is built stays in the cache, so that the next run has less to do.

    Raises:
        ClusterError: parts failed; the message holds each failure.
    """
    parts = missing(names, folders)
    if not parts:
        return
    if len(parts) == 1:
        _build(parts[0], folders)
        return
    say(f"build side by side: {', '.join(part.label for part in parts)}")
    with Durations(folders.durations).measured(_together(parts), keep_longest=True):
        _build_all(parts, folders)


def _together(parts: Sequence[Part]) -> str:
    return "+".join(sorted(part.name for part in parts))


def _build(part: Part, folders: Folders) -> None:
    with Durations(folders.durations).measured(part.name, keep_longest=True):
        part.build(folders)


class _Job(threading.Thread):
    """The build of one part in its own thread."""

    def __init__(self, part: Part, folders: Folders, interrupted: threading.Event) -> None:
        super().__init__(name=part.name, daemon=True)
        self._part, self._folders, self._interrupted = part, folders, interrupted
        self.error: BaseException | None = None

    def run(self) -> None:
        if not self._part.is_longest:
            # Linux gives each thread its own priority, and programs inherit that of the thread that starts them.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
        try:
            _build(self._part, self._folders)
        except BaseException as error:
            self.error = error
            if not self._interrupted.is_set():
                say(f"{self._part.label} FAILED; the other builds go on")


def _build_all(parts: Sequence[Part], folders: Folders) -> None:
    interrupted = threading.Event()
    jobs = [_Job(part, folders, interrupted) for part in parts]
    try:
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
    except BaseException:
        # Ctrl-C: each build keeps what it has compiled or downloaded, and goes on from there the next time.
        interrupted.set()
        with shell.terminating():
            for job in jobs:
                job.join(JOIN_SECONDS)
        raise
    errors = [job.error for job in jobs if job.error is not None]
    for error in errors:
        if not isinstance(error, ClusterError):
            raise error
    if errors:
        raise ClusterError("\n".join(map(str, errors)), "Run the same command again: what is built is kept.")
