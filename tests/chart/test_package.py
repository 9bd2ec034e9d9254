"""The charts of a release install the image of the release."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.chart.matrix import NAMESPACE
from tools.chart.files import OPERATOR
from tools.chart.helm import Helm
from tools.chart.package import PackageError, package, with_image
from vllm_operator import __version__

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def test_package_installs_the_image_of_the_release(helm4: Helm, tmp_path: Path) -> None:
    image = f"ghcr.io/example/vllm-operator@{DIGEST}"

    packages = package(image, tmp_path, helm4)

    names = ["vllm-operator", "vllm-server"]
    assert [path.name for path in packages] == [f"{name}-{__version__}.tgz" for name in names]
    release = helm4.template(packages[0], release="vllm-operator", namespace=NAMESPACE)
    (deployment,) = [body for body in release if body["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert "0 chart(s) failed" in helm4.run("lint", "--strict", str(packages[0]), str(packages[1]))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("r.example:5000/o:1.2.3", ("r.example:5000/o", "1.2.3", "")),
        (f"r.example:5000/o@{DIGEST}", ("r.example:5000/o", "", DIGEST)),
        (f"r.example/o:1.2.3@{DIGEST}", ("r.example/o", "1.2.3", DIGEST)),
        ("vllm-operator", ("vllm-operator", "", "")),
    ],
)
def test_image_is_written_into_the_values(image: str, expected: tuple[str, str, str]) -> None:
    found = yaml.safe_load(with_image((OPERATOR / "values.yaml").read_text(), image))["image"]

    assert (found["repository"], found["tag"], found["digest"]) == expected


@pytest.mark.parametrize("image", ["", "a@sha256:12", "a:b:c@d"])
def test_what_is_no_reference_is_refused(image: str) -> None:
    with pytest.raises(PackageError, match="is no reference of an image"):
        with_image("", image)
