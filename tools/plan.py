"""Print what `make demo` or `make test` will do on this machine, and how long it takes.

    python3 -m tools.plan demo|test              print the plan
    python3 -m tools.plan timed NAME COMMAND...  run a command, and remember its time for later plans

Needs only the standard library: the plan comes before any Python environment exists.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.localcluster import backends, parts, settings
from tools.localcluster.backends.local import LocalCluster
from tools.localcluster.durations import Durations
from tools.localcluster.settings import Folders

ENVIRONMENT_SECONDS = 15
START_SECONDS = 10
IMPORT_SECONDS = 21
QUICKSTART_SECONDS = 45
TEST_SECONDS = {"check": 40, "unit": 120, "chart": 100, "test-api": 420, "test-e2e": 330}
"""Seconds of the test targets on two cores with warm caches, until this machine has its own."""


@dataclass(frozen=True)
class Step:
    """One line of a plan.

    Attributes:
        subject: the program, image or test suite.
        action: imperative, or the state that leaves nothing to do.
        seconds: expected time; 0 where nothing is to do, None where it cannot be known.
        runs_alongside: its time is part of another step's.
    """

    subject: str
    action: str
    seconds: float | None = 0.0
    runs_alongside: bool = False


def demo_steps(folders: Folders, cluster: backends.Backend) -> Iterator[Step]:
    """Yield the steps of `make demo`."""
    yield environment_step()
    if not isinstance(cluster, LocalCluster):
        yield Step("cluster and images", "bring up or use; pull, build and load", None)
    else:
        yield from build_steps(parts.DEMO, folders)
        yield from _start_steps(folders, cluster)
    yield Step(
        "quickstart", "serve, and ask it", Durations(folders.durations).seconds("quickstart", QUICKSTART_SECONDS)
    )


def test_steps(folders: Folders, cluster: backends.Backend) -> Iterator[Step]:
    """Yield the steps of `make test`."""
    lack = backends.lack()
    names = parts.PURPOSES["test"] if isinstance(cluster, LocalCluster) and not lack else parts.API_TEST
    yield environment_step()
    if shutil.which("go") or not parts.missing(names, folders):
        yield from build_steps(names, folders)
    for name, default in TEST_SECONDS.items():
        if name == "test-e2e" and lack:
            yield Step(name, f"skipped: {lack}")
        else:
            yield Step(name, "run", Durations(folders.durations).seconds(name, default))


def environment_step() -> Step:
    """Return the step that installs the Python environment."""
    if (settings.REPOSITORY / ".venv").is_dir():
        return Step("Python environment", "is there")
    return Step("Python environment", "install", ENVIRONMENT_SECONDS)


def build_steps(names: Sequence[str], folders: Folders) -> Iterator[Step]:
    """Yield a step for each part, and one for the time of all builds."""
    missing = parts.missing(names, folders)
    together = len(missing) > 1
    for name in names:
        part = parts.PARTS[name]
        if part in missing:
            yield Step(part.label, "build", part.expected_seconds(folders), runs_alongside=together)
        else:
            yield Step(part.label, "cached")
    if together:
        yield Step("these builds", "run side by side", parts.expected_seconds(missing, folders))


def _start_steps(folders: Folders, cluster: LocalCluster) -> Iterator[Step]:
    if cluster.exists() and all(runs for _, runs in cluster.status()):
        yield Step("cluster", "runs")
    else:
        yield Step("cluster", "start", START_SECONDS)
    if not folders.image_store("node1").is_dir() or parts.missing(["vllm-image"], folders):
        yield Step("vLLM image", "import into the node", IMPORT_SECONDS)


def duration(seconds: float | None) -> str:
    """Return a time for a person: seconds in steps of five up to a minute and a half, minutes above."""
    if seconds is None:
        return "?"
    if seconds <= 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def render(target: str, steps: Sequence[Step]) -> str:
    """Return the plan as a table, with the sum of its times."""
    lines = [f"make {target} will, on this machine:"]
    for step in steps:
        time = f"about {duration(step.seconds)}" if step.seconds else ("" if step.seconds == 0 else "no estimate")
        lines.append(f"  {step.subject:28} {step.action:24} {time}".rstrip())
    total = sum(step.seconds or 0 for step in steps if not step.runs_alongside)
    rest = ", and the steps without an estimate" if any(step.seconds is None for step in steps) else ""
    return "\n".join([*lines, f"about {duration(total)} in all{rest}", ""])


def is_dry_run(flags: str) -> bool:
    """Return whether MAKEFLAGS are those of `make -n`, which runs recipes that call make again."""
    letters = flags.partition(" ")[0]
    return "n" in letters and not letters.startswith("-")


def timed(name: str, command: Sequence[str]) -> int:
    """Run a command and return its exit code; remember the time of a success under `name`."""
    if is_dry_run(os.environ.get("MAKEFLAGS", "")):
        return subprocess.run(command, check=False).returncode
    try:
        with Durations(settings.folders().durations).measured(name):
            subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 128 - error.returncode
    return 0


def main() -> int:
    """Print a plan, or run a command for its time."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.plan", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for target in ("demo", "test"):
        commands.add_parser(target, help=f"print the plan of `make {target}`")
    run = commands.add_parser("timed", help="run a command, and remember its time")
    run.add_argument("name")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.command == "timed":
        return timed(options.name, options.arguments)
    folders, cluster = settings.folders(), backends.choose(os.environ.get("CLUSTER") or "auto")
    steps = demo_steps(folders, cluster) if options.command == "demo" else test_steps(folders, cluster)
    print(render(options.command, list(steps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
