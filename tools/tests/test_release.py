"""The local part of a release: what is refused, the version, the changelog, the files."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import release
from tools.localcluster import settings
from tools.release import MARKER, ReleaseError, Tree

FRAGMENTS = """## 0.2.0 (2026-03-02)

### Added

- Serve models from S3.

### Fixed

- A claim is bound again.

"""
UNRELEASED = f"""# Changelog

{MARKER}
## 0.2.0 (unreleased)

### Added

- One manifest, all objects.

### Security

- Secrets are read by name.

## 0.1.0 (2026-01-01)

### Added

- The beginning.
"""


class Recorded:
    """A runner of commands that keeps them and answers from a table."""

    def __init__(self, **answers: str) -> None:
        self.commands: list[list[str]] = []
        self._answers = answers

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(list(command))
        return self._answers.get(command[1].replace("-", "_"), "")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a version, a changelog and one fragment."""
    package = tmp_path / "operator" / "vllm_operator"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Doc."""\n\n__version__ = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(UNRELEASED)
    fragments = tmp_path / "changelog.d"
    fragments.mkdir()
    (fragments / "README.md").write_text("# Fragments\n")
    (fragments / "+s3.added.md").write_text("Serve models from S3.\n")
    for version in ("0.1.0", "0.1.10", "0.1.9"):
        (tmp_path / "tests" / "upgrade" / "released" / version).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("version", "answers", "message"),
    [
        ("", {}, "is no version such as 0.2.0"),
        ("v0.2.0", {}, "is no version such as 0.2.0"),
        ("0.2.0", {"status": " M README.md\n"}, "the tree is not clean"),
        ("0.2.0", {"tag": "v0.2.0\n"}, "the tag v0.2.0 exists"),
        ("0.1.9", {}, r"0\.1\.9 is older than 0\.1\.10"),
    ],
)
def test_what_cannot_be_released_is_refused_with_the_reason(
    root: Path, version: str, answers: dict[str, str], message: str
) -> None:
    with pytest.raises(ReleaseError, match=message):
        release.check_ready(Tree(root, Recorded(**answers)), version)


def test_clean_tree_and_new_version_are_ready(root: Path) -> None:
    release.check_ready(Tree(root, Recorded()), "0.2.0")


def test_snapshot_of_an_untagged_version_is_taken_again(root: Path) -> None:
    release.check_ready(Tree(root, Recorded()), "0.1.10")


def test_version_is_written_where_the_wheel_reads_it(root: Path) -> None:
    tree = Tree(root, Recorded())

    tree.set_version("0.2.0")

    assert tree.version() == "0.2.0"
    assert (root / release.VERSION_FILE).read_text() == '"""Doc."""\n\n__version__ = "0.2.0"\n'


def test_source_without_a_version_is_an_error(root: Path) -> None:
    (root / release.VERSION_FILE).write_text('"""Doc."""\n')

    with pytest.raises(ReleaseError, match="names no version"):
        Tree(root, Recorded()).version()


def test_this_repository_has_one_version() -> None:
    pyproject = tomllib.loads((settings.REPOSITORY / "pyproject.toml").read_text())

    assert release.VERSION.fullmatch(Tree(settings.REPOSITORY, Recorded()).version())
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == release.VERSION_FILE


def test_fragments_join_the_unreleased_section_in_their_categories() -> None:
    text = release.update_changelog(UNRELEASED, "0.2.0", "2026-03-02", FRAGMENTS)

    assert (
        text.partition(MARKER)[2]
        == """
## 0.2.0 (2026-03-02)

### Added

- One manifest, all objects.
- Serve models from S3.

### Security

- Secrets are read by name.

### Fixed

- A claim is bound again.

## 0.1.0 (2026-01-01)

### Added

- The beginning.
"""
    )


def test_fragments_make_a_new_section_above_the_others() -> None:
    text = release.update_changelog(UNRELEASED.replace("unreleased", "2026-02-01"), "0.3.0", "2026-03-02", FRAGMENTS)

    assert text.partition(MARKER)[2].startswith(
        "\n## 0.3.0 (2026-03-02)\n\n### Added\n\n- Serve models from S3.\n\n### Fixed\n\n"
        "- A claim is bound again.\n\n## 0.2.0 (2026-02-01)\n"
    )


@pytest.mark.parametrize(
    ("text", "version", "fragments", "message"),
    [
        ("# Changelog\n", "0.2.0", FRAGMENTS, "lacks the line"),
        (UNRELEASED, "0.1.0", FRAGMENTS, "has a section for 0.1.0 already"),
        (UNRELEASED, "0.3.0", "", "holds no fragment"),
    ],
)
def test_changelog_that_cannot_be_written_is_an_error(text: str, version: str, fragments: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        release.update_changelog(text, version, "2026-03-02", fragments)


def test_notes_are_the_dated_section() -> None:
    assert release.notes(UNRELEASED, "0.1.0") == "### Added\n\n- The beginning.\n"
    with pytest.raises(ReleaseError, match=r"no dated section for 0\.2\.0"):
        release.notes(UNRELEASED, "0.2.0")


def test_changelog_of_this_repository_can_be_released() -> None:
    text = (settings.REPOSITORY / "CHANGELOG.md").read_text()
    version = Tree(settings.REPOSITORY, Recorded()).version()

    dated = release.update_changelog(text, version, "2026-03-02", FRAGMENTS)

    assert "- Serve models from S3." in release.notes(dated, version)
    assert "unreleased" not in dated


def test_towncrier_renders_the_fragments_as_the_changelog_needs_them(tmp_path: Path) -> None:
    folder = tmp_path / "changelog.d"
    folder.mkdir()
    (folder / "README.md").write_text("# Fragments\n")
    (folder / "+s3.added.md").write_text("Serve models from S3.\n")
    (folder / "12.fixed.md").write_text("A claim is bound again.\n")
    (tmp_path / "pyproject.toml").write_text((settings.REPOSITORY / "pyproject.toml").read_text())

    def run(command: Sequence[str]) -> str:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    rendered = release.fragments(Tree(tmp_path, run), "0.3.0")

    assert [(name, entries.strip()) for name, entries in release.CATEGORY.findall(rendered)] == [
        ("Added", "- Serve models from S3."),
        ("Fixed", "- A claim is bound again. (#12)"),
    ]


def test_no_fragment_renders_nothing(root: Path) -> None:
    (root / "changelog.d" / "+s3.added.md").unlink()

    assert release.fragments(Tree(root, Recorded()), "0.2.0") == ""


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("b")
    (tmp_path / "a.whl").write_text("a")
    (tmp_path / "SHA256SUMS.sigstore.json").write_text("{}")

    release.write_checksums(tmp_path)
    text = release.write_checksums(tmp_path)

    digest = {name: hashlib.sha256(name[0].encode()).hexdigest() for name in ("a.whl", "b.yaml")}
    assert text == f"{digest['a.whl']}  a.whl\n{digest['b.yaml']}  b.yaml\n"
    assert (tmp_path / "SHA256SUMS").read_text() == text


def test_artefacts_of_another_version_are_refused(root: Path) -> None:
    with pytest.raises(ReleaseError, match=r"the source is version 0\.1\.0, not 0\.2\.0"):
        release.build_artefacts(Tree(root, Recorded()), "0.2.0", "vllm-operator:0.2.0")


def test_prepare_does_each_step_and_says_what_is_left(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV", "uv")
    (root / "dist").mkdir()
    ran = Recorded(build=FRAGMENTS)

    def run(command: Sequence[str]) -> str:
        if "--wheel" in command:
            (root / "dist").mkdir()
            (root / "dist" / "vllm_operator-0.2.0-py3-none-any.whl").write_text("wheel")
        if "manifests" in command:
            (root / "dist" / "vllm-operator.yaml").write_text("manifests")
        return ran(command)

    left = release.prepare(Tree(root, run), "0.2.0", "registry.example/op:0.2.0", "2026-03-02")

    assert [command[1:3] for command in ran.commands] == [
        ["build", "--draft"],
        ["-m", "tools.reference_docs"],
        ["-m", "tools.chart"],
        ["-m", "tools.release_snapshot"],
        ["build", "--wheel"],
        ["-m", "vllm_operator"],
    ]
    assert Tree(root, run).version() == "0.2.0"
    assert [path.name for path in (root / "changelog.d").iterdir()] == ["README.md"]
    assert "- Serve models from S3." in release.notes((root / "CHANGELOG.md").read_text(), "0.2.0")
    assert sorted(path.name for path in (root / "dist").iterdir()) == [
        "SHA256SUMS",
        "vllm-operator.yaml",
        "vllm_operator-0.2.0-py3-none-any.whl",
    ]
    assert "git tag -a v0.2.0" in left
    assert "vllm-operator.yaml" in left


def test_error_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["notes", "--version", "99.0.0"]) == 1
    assert capsys.readouterr().err.startswith("error: the source is version ")
