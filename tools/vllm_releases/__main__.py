"""Measure releases of vLLM, and write their flags and metrics: `python -m tools.vllm_releases RELEASE...`.

Each is installed outside of the checkout, measured, and removed again, because it takes gigabytes.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tools.localcluster import settings
from tools.localcluster.report import say, step
from tools.vllm_releases import serving
from tools.vllm_releases.environment import Environment, install

TABLES = settings.REPOSITORY / "operator" / "vllm_operator" / "vllm" / "releases"
INSIDE = Path(__file__).with_name("inside.py")


def main() -> None:
    """Measure the releases that the command line names; those that have a table already when it names none."""
    parser = argparse.ArgumentParser(prog="python -m tools.vllm_releases", description=__doc__)
    parser.add_argument("releases", nargs="*", default=[path.stem for path in sorted(TABLES.glob("*.json"))])
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    parser.add_argument("--flags-only", action="store_true", help="do not start the server")
    options = parser.parse_args()
    os.nice(10)
    for release in options.releases:
        environment = install(release)
        with step(f"vLLM {release} measured", announce=True):
            write(release.partition(".post")[0], measure(environment, options.flags_only))
        if not options.keep:
            environment.remove()


def measure(environment: Environment, flags_only: bool) -> dict[str, Any]:
    """Return the flags, metrics and endpoints of a release."""
    output = subprocess.run(
        [environment.python, INSIDE],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "VLLM_USE_V1": "1"},
    )
    flags = json.loads(output.stdout.strip().splitlines()[-1])
    served, source = {}, "source"
    try:
        if not flags_only:
            served, source = serving.serve(environment), "server"
    except serving.NotServingError as error:
        say(f"vLLM {environment.release} does not run here, its metrics are read in its source:\n{error}")
    metrics = served.get("metrics") or serving.read_metrics(environment)
    return {"source": source, "flags": flags, "metrics": metrics, "endpoints": served.get("endpoints", [])}


def write(release: str, facts: dict[str, Any]) -> None:
    """One flag a line, so that a difference between two measurements can be read."""
    lines = [f'{{"vllm": {json.dumps(release)}']
    for name, part in facts.items():
        if isinstance(part, dict):
            entries = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(part.items())]
            lines.append(f"{json.dumps(name)}: {{\n" + ",\n".join(entries) + "\n}")
        elif isinstance(part, str):
            lines.append(f"{json.dumps(name)}: {json.dumps(part)}")
        else:
            entries = [f"  {json.dumps(value)}" for value in part]
            lines.append(f"{json.dumps(name)}: [\n" + ",\n".join(entries) + "\n]")
    TABLES.mkdir(exist_ok=True)
    (TABLES / f"{release}.json").write_text(",\n".join(lines) + "}\n")
    say(f"vLLM {release}: " + ", ".join(_counts(facts)))


def _counts(facts: dict[str, Any]) -> list[str]:
    return [f"{name}: {part if isinstance(part, str) else len(part)}" for name, part in facts.items()]


if __name__ == "__main__":
    main()
