from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.golden.documents import MANIFESTS
from tests.helpers.plugin import plugin

SMALLEST = (MANIFESTS / "smallest.yaml").read_text()
TWO = SMALLEST + "---\n" + SMALLEST.replace("name: mistral", "name: second")


def test_one_file_is_printed() -> None:
    ended = plugin("render", "-f", "-", "--target", "compose", stdin=SMALLEST)
    assert ended.code == 0
    assert "mistral" in yaml.safe_load(ended.stdout)["services"]
    assert "mistral: not carried over: spec.health: " in ended.stderr
    assert "mistral: next: docker compose up" in ended.stderr


def test_several_files_are_printed_with_their_names() -> None:
    ended = plugin("render", "-f", "-", "--target", "compose", "--replicas", "2", stdin=SMALLEST)
    assert "# ==> compose.yaml <==\n" in ended.stdout
    assert "# ==> nginx.conf <==\n" in ended.stdout


def test_files_are_written_to_a_folder_and_never_over_others(tmp_path: Path) -> None:
    arguments = ("render", "-f", "-", "--target", "compose", "--output-dir", str(tmp_path / "out"))
    assert plugin(*arguments, stdin=SMALLEST).code == 0
    assert (tmp_path / "out" / "compose.yaml").is_file()
    again = plugin(*arguments, stdin=SMALLEST)
    assert again.code == 1
    assert "compose.yaml exists already: choose another --output-dir, or remove it" in again.stderr


def test_several_servers_get_a_folder_each(tmp_path: Path) -> None:
    ended = plugin("render", "-f", "-", "--target", "quadlet", "--output-dir", str(tmp_path), stdin=TWO)
    assert ended.code == 0
    assert (tmp_path / "mistral" / "mistral.container").is_file()
    assert (tmp_path / "second" / "second.container").is_file()


def test_json_has_files_losses_and_steps() -> None:
    ended = plugin("render", "-f", "-", "--target", "compose", "-o", "json", stdin=SMALLEST)
    (result,) = json.loads(ended.stdout)
    assert [file["path"] for file in result["files"]] == ["compose.yaml"]
    assert result["notCarriedOver"][0]["field"] == "spec.health"
    assert result["steps"] == ["docker compose up --detach --wait"]


@pytest.mark.parametrize(
    ("arguments", "text", "code", "words"),
    [
        (("--target", "podman"), SMALLEST, 1, "--target: 'podman' is unknown: use one of compose"),
        (("--target", "karpenter"), SMALLEST, 1, "mistral: spec.accelerator.product: it is unset"),
        (("--target", "compose"), SMALLEST + "  replicas: many\n", 1, "refused: spec.replicas"),
        (("--target", "compose"), "", 1, "the file is empty"),
        (("--target", "compose"), "a: [", 1, "not valid YAML"),
        (("--target", "compose"), SMALLEST.replace("name: mistral", "generateName: m-"), 1, "a target needs a name"),
        (("--target", "karpenter", "--set", "x"), SMALLEST, 2, "write --set NAME=VALUE"),
        (("--target", "karpenter", "--set", "x=y"), SMALLEST, 1, "the target karpenter has cluster, role"),
        (("--target", "compose", "--replicas", "300"), SMALLEST, 1, "one machine runs 1 to 256"),
        (("--set", "a=b"), SMALLEST, 2, "need --target"),
    ],
)
def test_mistakes_are_named_with_a_way_out(arguments: tuple[str, ...], text: str, code: int, words: str) -> None:
    ended = plugin("render", "-f", "-", *arguments, stdin=text)
    assert ended.code == code
    assert words in ended.stderr
    assert ended.stdout == ""


def test_targets_are_listed_without_a_file() -> None:
    ended = plugin("render", "--list-targets")
    assert ended.code == 0
    assert "cloud-run      Cloud Run with a GPU" in ended.stdout
    assert "--set region=...  region of AWS [example: us-east-1]" in ended.stdout


def test_a_missing_file_option_is_a_usage_error() -> None:
    assert plugin("render").code == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "below"
    ended = plugin("render", "-f", "-", "--target", "compose", "--output-dir", str(folder), stdin=SMALLEST)
    assert ended.code == 1
    assert "choose another --output-dir" in ended.stderr
