"""`python -m tools.release`: prepare a release on this machine, and build its files.

    ready VERSION                 refuse a tree or a version that cannot be released
    prepare VERSION               version, changelog, references, snapshot, dist/; then say what is left
    artefacts --version V         wheel and install file of a version that the source has already, into dist/
    checksums                     dist/SHA256SUMS
    notes --version V             the section of the changelog for a version that the source has already

docs/contributing/releasing.md describes a whole release.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import settings

VERSION = re.compile(r"\d+\.\d+\.\d+")
VERSION_FILE = "operator/vllm_operator/__init__.py"
"""The only place of the version: the wheel and the command line read it from there."""
VERSION_LINE = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)

MARKER = "<!-- towncrier release notes start -->\n"
SECTION = re.compile(r"^## .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CATEGORY = re.compile(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
INSTALL_FILE = "vllm-operator.yaml"
CHECKSUMS = "SHA256SUMS"

Run = Callable[[Sequence[str]], str]


class ReleaseError(Exception):
    """Something that keeps a release from being made; the message says what to do."""


def run(command: Sequence[str]) -> str:
    """Run a command in the repository and return its output; its errors go to the terminal."""
    done = subprocess.run(command, cwd=settings.REPOSITORY, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ReleaseError(f"`{' '.join(command)}` failed with exit code {done.returncode}: see above")
    return done.stdout


@dataclass(frozen=True)
class Tree:
    """The repository, or a copy of its layout in a test.

    Attributes:
        root: folder of the repository.
        run: runs a command in it and returns its output.
    """

    root: Path
    run: Run

    @property
    def changelog(self) -> Path:
        """The changelog."""
        return self.root / "CHANGELOG.md"

    @property
    def dist(self) -> Path:
        """The folder of the built files."""
        return self.root / "dist"

    @property
    def snapshots(self) -> Path:
        """The folder of the upgrade snapshots, one for each version."""
        return self.root / "tests" / "upgrade" / "released"

    def version(self) -> str:
        """Return the version of the source.

        Raises:
            ReleaseError: the file does not name it.
        """
        found = VERSION_LINE.search((self.root / VERSION_FILE).read_text())
        if found is None:
            raise ReleaseError(f'{VERSION_FILE} names no version: add the line `__version__ = "0.2.0"`')
        return found[1]

    def set_version(self, version: str) -> None:
        """Write the version of the source."""
        path = self.root / VERSION_FILE
        path.write_text(VERSION_LINE.sub(f'__version__ = "{version}"', path.read_text(), count=1))


def check_ready(tree: Tree, version: str) -> None:
    """Refuse a version that cannot be released from this tree.

    Raises:
        ReleaseError: the first reason found.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version!r} is no version such as 0.2.0: run `make release VERSION=0.2.0`")
    if tree.run(["git", "status", "--porcelain"]).strip():
        raise ReleaseError("the tree is not clean: commit or stash your changes first")
    if tree.run(["git", "tag", "--list", f"v{version}"]).strip():
        raise ReleaseError(f"the tag v{version} exists: choose the next version")
    newest = max((path.name for path in tree.snapshots.iterdir() if path.is_dir()), key=_numbers, default=version)
    if _numbers(version) < _numbers(newest):
        raise ReleaseError(f"{version} is older than {newest}, which has a snapshot in tests/upgrade/released")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def update_changelog(text: str, version: str, date: str, fragments: str) -> str:
    """Return the changelog with the section of a version, dated, and with the entries of the fragments.

    Args:
        text: the changelog.
        version: the version to release.
        date: its date, such as 2026-03-02.
        fragments: the section that towncrier makes of the fragments; empty without fragments.

    Raises:
        ReleaseError: the marker is missing, the version has a dated section, or there is nothing to say.
    """
    if MARKER not in text:
        raise ReleaseError(f"CHANGELOG.md lacks the line {MARKER.strip()}: put it before the newest section")
    head, _, tail = text.partition(MARKER)
    heading = f"## {version} ({date})\n"
    unreleased = f"## {version} (unreleased)\n"
    if unreleased in tail:
        section = next(part for part in SECTION.findall(tail) if part.startswith(unreleased))
        merged = merge_entries(section.replace(unreleased, heading), fragments)
        before, _, after = tail.partition(section)
        return head + MARKER + before + merged + (f"\n{after}" if after else "")
    if f"## {version} (" in tail:
        raise ReleaseError(f"CHANGELOG.md has a section for {version} already: choose the next version")
    if not fragments:
        raise ReleaseError("changelog.d holds no fragment: a release without a change for users needs none")
    return f"{head}{MARKER}\n{merge_entries(heading, fragments)}\n{tail.lstrip()}"


def merge_entries(section: str, fragments: str) -> str:
    """Return a section with the entries of the fragments at the end of their categories; new categories come last."""
    merged = section.rstrip() + "\n"
    for name, entries in CATEGORY.findall(fragments):
        entries = entries.strip()
        found = next((match for match in CATEGORY.finditer(merged) if match[1] == name), None)
        if found is None:
            merged += f"\n### {name}\n\n{entries}\n"
        else:
            rest = merged[found.end() :]
            merged = merged[: found.end()].rstrip() + f"\n{entries}\n" + (f"\n{rest}" if rest else "")
    return merged


def notes(text: str, version: str) -> str:
    """Return the section of a version without its heading.

    Raises:
        ReleaseError: there is none, or it is not dated.
    """
    for section in SECTION.findall(text):
        heading, _, body = section.partition("\n")
        if re.fullmatch(rf"## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", heading):
            return str(body.strip()) + "\n"
    raise ReleaseError(f"CHANGELOG.md has no dated section for {version}: run `make release VERSION={version}`")


def fragments(tree: Tree, version: str) -> str:
    """Return what towncrier makes of the fragments; empty when there are none."""
    if not any(path.name != "README.md" for path in (tree.root / "changelog.d").glob("*.md")):
        return ""
    return tree.run([_sibling("towncrier"), "build", "--draft", "--version", version])


def check_version(tree: Tree, version: str) -> None:
    """Raise ReleaseError unless the source is this version."""
    if (source := tree.version()) != version:
        raise ReleaseError(f"the source is version {source}, not {version}: run `make release VERSION={version}`")


def build_artefacts(tree: Tree, version: str, image: str) -> None:
    """Build wheel and install file into an empty dist/.

    Raises:
        ReleaseError: the source has another version, or a build fails.
    """
    check_version(tree, version)
    shutil.rmtree(tree.dist, ignore_errors=True)
    tree.run([_uv(), "build", "--wheel", "--quiet", "--out-dir", str(tree.dist)])
    (tree.dist / ".gitignore").unlink(missing_ok=True)
    output = str(tree.dist / INSTALL_FILE)
    tree.run([sys.executable, "-m", "vllm_operator", "manifests", "--image", image, "--output", output])


def write_checksums(folder: Path) -> str:
    """Write SHA256SUMS over the files of a folder, in the format of sha256sum, and return it."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(CHECKSUMS))
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines))
    return "".join(lines)


def prepare(tree: Tree, version: str, image: str, date: str) -> str:
    """Do the local part of a release and return what is left to do."""
    entries = fragments(tree, version)
    tree.changelog.write_text(update_changelog(tree.changelog.read_text(), version, date, entries))
    for path in (tree.root / "changelog.d").glob("*.md"):
        if path.name != "README.md":
            path.unlink()
    tree.set_version(version)
    tree.run([sys.executable, "-m", "tools.reference_docs"])
    tree.run([sys.executable, "-m", "tools.chart"])
    tree.run([sys.executable, "-m", "tools.release_snapshot", version])
    build_artefacts(tree, version, image)
    sums = write_checksums(tree.dist)
    return f"""\
{sums}
{version} is prepared in your tree and in dist/. What is left:

  git diff                                    # review version, changelog and snapshot
  git add -A && git commit -m "Release {version}"
  git tag -a v{version} -m "v{version}"       # -s signs it
  git push origin HEAD v{version}             # starts .github/workflows/release.yml
  then review the draft release on GitHub, and publish it

To undo everything instead: git restore . && git clean -d changelog.d tests/upgrade/released
"""


def _uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        raise ReleaseError("uv is not on the PATH: run this by `make release`")
    return found


def _sibling(program: str) -> str:
    """Return the path of a program in the environment of this Python."""
    return str(Path(sys.executable).with_name(program))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m tools.release")
    commands = top.add_subparsers(dest="command", required=True)
    for name in ("ready", "prepare"):
        command = commands.add_parser(name)
        command.add_argument("version")
    prepared = commands.choices["prepare"]
    built = commands.add_parser("artefacts")
    commands.add_parser("checksums")
    noted = commands.add_parser("notes")
    for command in (built, noted):
        command.add_argument("--version", required=True)
    for command in (prepared, built):
        command.add_argument("--image", default=os.environ.get("RELEASE_IMAGE", ""))
    return top


def execute(arguments: argparse.Namespace, tree: Tree) -> str:
    """Run one command and return what it prints."""
    if arguments.command == "checksums":
        return write_checksums(tree.dist)
    version: str = arguments.version
    if arguments.command == "notes":
        check_version(tree, version)
        return notes(tree.changelog.read_text(), version)
    if arguments.command == "artefacts":
        build_artefacts(tree, version, arguments.image or f"vllm-operator:{version}")
        return ""
    check_ready(tree, version)
    if arguments.command == "ready":
        return ""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return prepare(tree, version, arguments.image or f"vllm-operator:{version}", today)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error is one sentence."""
    try:
        sys.stdout.write(execute(parser().parse_args(arguments), Tree(settings.REPOSITORY, run)))
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
