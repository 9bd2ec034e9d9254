"""The archive and the krew manifest of the kubectl plugin."""

from __future__ import annotations

import hashlib
import re
import tarfile
from pathlib import Path

from tools.plugin_package import PROGRAM, archives, krew_manifest, pack
from vllm_operator import __version__


def test_manifest_has_what_krew_asks_for() -> None:
    """The rules of krew's `validate-krew-manifest` (internal/index/validation/validate.go) that need no network."""
    releases = "https://e.org/x/releases/download/"
    body = krew_manifest(__version__, releases, {("linux", "amd64"): ("https://e.org/a.tar.gz", "0" * 64)})
    spec = body["spec"]
    assert body["kind"] == "Plugin"
    assert spec["homepage"] == "https://e.org/x"
    assert all(len(line) <= 80 for name in ("description", "caveats") for line in spec[name].splitlines())
    assert body["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert re.fullmatch(r"[a-z][a-z0-9-]*", body["metadata"]["name"])
    assert re.fullmatch(r"v\d+\.\d+\.\d+.*", spec["version"])
    assert len(spec["shortDescription"]) <= 50
    assert "kubectl" not in spec["shortDescription"].lower()
    [platform] = spec["platforms"]
    assert re.fullmatch(r"[0-9a-f]{64}", platform["sha256"])
    assert platform["selector"] == {"matchLabels": {"os": "linux", "arch": "amd64"}}
    assert platform["bin"] in {file["from"] for file in platform["files"]}


def test_archive_holds_program_and_license_and_is_reproducible(tmp_path: Path) -> None:
    program = tmp_path / PROGRAM
    program.write_text("#!/usr/bin/env python3\n")
    program.chmod(0o755)
    first = pack(program, tmp_path / "a.tar.gz")
    with tarfile.open(first) as archive:
        entries = {entry.name: entry for entry in archive}
    assert set(entries) == {PROGRAM, "LICENSE"}
    assert entries[PROGRAM].mode & 0o111
    assert {(entry.uid, entry.uname, entry.mtime) for entry in entries.values()} == {(0, "", 0)}


def test_manifest_names_the_archives_of_all_machines(tmp_path: Path) -> None:
    names = ("kubectl-vllm-linux-amd64.tar.gz", "kubectl-vllm-darwin-arm64.tar.gz", "kubectl-vllm", "SHA256SUMS")
    for name in names:
        (tmp_path / name).write_text(name)
    found = archives(tmp_path, "1.2.3", "https://e.org/x/releases/download")
    assert set(found) == {("linux", "amd64"), ("darwin", "arm64")}
    url, digest = found["linux", "amd64"]
    assert url == "https://e.org/x/releases/download/v1.2.3/kubectl-vllm-linux-amd64.tar.gz"
    assert digest == hashlib.sha256(names[0].encode()).hexdigest()
