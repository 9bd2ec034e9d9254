"""`python -m tools.chart.package IMAGE FOLDER`: package both charts for a release, with its image as the default.

Helm 4 of the test cluster packages them, so that what is released was made by a program that go.sum pins.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.chart.files import OPERATOR, SERVER
from tools.chart.helm import Helm
from tools.localcluster import build, settings

IMAGE = re.compile(r"(?P<repository>[^@]+?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?")


class PackageError(Exception):
    """A reference of an image that cannot be written into the values."""


def package(image: str, folder: Path, helm: Helm) -> list[Path]:
    """Package both charts into a folder; return the packages.

    Args:
        image: reference of the operator's image, with a digest, a tag or neither.
        folder: where the packages go.
        helm: the program that packages.

    Raises:
        PackageError: the reference is none.
    """
    with tempfile.TemporaryDirectory(prefix="charts-") as scratch:
        operator = Path(shutil.copytree(OPERATOR, Path(scratch) / OPERATOR.name))
        values = operator / "values.yaml"
        values.write_text(with_image(values.read_text(), image))
        folder.mkdir(parents=True, exist_ok=True)
        for chart in (operator, SERVER):
            helm.run("package", str(chart), "--destination", str(folder))
    return sorted(folder.glob("*.tgz"))


def with_image(text: str, image: str) -> str:
    """Return a values file whose image is this one.

    Raises:
        PackageError: the reference is none.
    """
    found = IMAGE.fullmatch(image)
    if found is None:
        raise PackageError(f"{image!r} is no reference of an image, such as registry.example/vllm-operator:0.2.0")
    for key in ("repository", "tag", "digest"):
        value = found[key] or '""'
        text = re.sub(rf"^  {key}: .*$", f"  {key}: {value}", text, count=1, flags=re.MULTILINE)
    return text


def main(arguments: Sequence[str]) -> int:
    """Package the charts and print the paths."""
    if len(arguments) != 2:
        print("usage: python -m tools.chart.package IMAGE FOLDER", file=sys.stderr)
        return 2
    image, folder = arguments
    with tempfile.TemporaryDirectory(prefix="helm-") as home:
        helm = Helm(build.tool("helm4", settings.folders()), Path(home))
        try:
            packages = package(image, Path(folder), helm)
        except PackageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print("\n".join(map(str, packages)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
