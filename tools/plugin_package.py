"""Build the kubectl plugin as one file, and the manifest by which krew installs it.

`python -m tools.plugin_package` writes `dist/kubectl-vllm` (a pex file), `dist/kubectl-vllm-OS-ARCH.tar.gz` and
`dist/vllm.yaml`. The file runs with the Python of the build: it holds compiled modules. The manifest names all archives
in `dist`, so that those of other machines can be put there first. PLUGIN_URL is the address of the releases.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.localcluster.settings import REPOSITORY
from vllm_operator import __version__

DIST = REPOSITORY / "dist"
PROGRAM = "kubectl-vllm"
PEX = "pex>=2.50,<3"
"""Builds one file of a Python program (docs.pex-tool.org)."""

NOWHERE = "https://plugin-url-is-unset.invalid/releases/download"
"""Address of the releases without PLUGIN_URL. krew needs one in each manifest, and `--archive` replaces it. Nothing is
ever served at `.invalid` (RFC 2606)."""

ARCHIVE = re.compile(rf"{PROGRAM}-([a-z0-9]+)-([a-z0-9]+)\.tar\.gz")
"""Name of an archive, with operating system and architecture."""

ARCHITECTURES: Mapping[str, str] = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""Name of the machine -> its name in krew."""


def main() -> None:
    """Build the file, the archive and the manifest."""
    DIST.mkdir(exist_ok=True)
    program = build(DIST / PROGRAM)
    system, architecture = platform.system().lower(), ARCHITECTURES[platform.machine().lower()]
    archive = pack(program, DIST / f"{PROGRAM}-{system}-{architecture}.tar.gz")
    manifest = DIST / "vllm.yaml"
    releases = os.environ.get("PLUGIN_URL") or NOWHERE
    manifest.write_text(
        yaml.safe_dump(krew_manifest(__version__, releases, archives(DIST, __version__, releases)), sort_keys=False)
    )
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(f"{program} ({program.stat().st_size:,} bytes, for Python {python}), {archive}, {manifest}")
    print(f"kubectl krew install --manifest {manifest} --archive {archive}")
    if releases == NOWHERE:
        print("To publish the manifest, set PLUGIN_URL to the address of the releases: now it installs archives only.")


def archives(folder: Path, version: str, releases: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return operating system and architecture -> URL and SHA-256 of each archive in a folder."""
    return {
        (found[1], found[2]): (
            f"{releases.rstrip('/')}/v{version}/{path.name}",
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.iterdir())
        if (found := ARCHIVE.fullmatch(path.name))
    }


def build(path: Path) -> Path:
    """Build the pex file, with the versions of the lock file; return its path."""
    uv = os.environ.get("UV", "uv")
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        exported = ["--frozen", "--quiet", "--no-dev", "--extra", "cli", "--no-emit-project", "-o", str(requirements)]
        _run(uv, "export", *exported)
        _run(uv, "build", "--quiet", "--wheel", "-o", folder, str(REPOSITORY))
        [wheel] = Path(folder).glob("vllm_operator-*.whl")
        # One hash makes pip ask for the hash of everything.
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with requirements.open("a") as file:
            file.write(f"{wheel} --hash=sha256:{digest}\n")
        options = ["-c", PROGRAM, "--venv", "prepend", "--python-shebang", "/usr/bin/env python3", "-o", str(path)]
        _run(uv, "tool", "run", "--quiet", "--python", sys.executable, PEX, "-r", str(requirements), *options)
    return path


def _run(*command: str) -> None:
    subprocess.run(command, cwd=REPOSITORY, check=True)


def pack(program: Path, path: Path) -> Path:
    """Write an archive with the program and the license; the same input makes the same bytes."""
    with tarfile.open(path, "w:gz", compresslevel=9, format=tarfile.PAX_FORMAT) as archive:
        for source in (program, REPOSITORY / "LICENSE"):
            archive.add(source, source.name, filter=_without_owner)
    return path


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def krew_manifest(version: str, releases: str, archives: Mapping[tuple[str, str], tuple[str, str]]) -> dict[str, Any]:
    """Return the manifest of the plugin (krew.sigs.k8s.io/docs/developer-guide/plugin-manifest).

    Args:
        version: version of the plugin.
        releases: address of the releases.
        archives: operating system and architecture -> URL and SHA-256 of the archive.
    """
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "vllm"},
        "spec": {
            "version": f"v{version}",
            "homepage": releases.rstrip("/").removesuffix("/releases/download"),
            "shortDescription": "Check, watch and use VLLMServers",
            "description": "Sizes, renders and checks VLLMServers,\nshows why one does not serve, and talks to them.\n",
            "caveats": f"The program needs Python {sys.version_info.major}.{sys.version_info.minor}.\n",
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": system, "arch": architecture}},
                    "uri": url,
                    "sha256": digest,
                    "bin": PROGRAM,
                    "files": [{"from": PROGRAM, "to": "."}, {"from": "LICENSE", "to": "."}],
                }
                for (system, architecture), (url, digest) in archives.items()
            ],
        },
    }


if __name__ == "__main__":
    main()
