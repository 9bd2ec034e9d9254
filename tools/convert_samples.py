"""Convert the published samples of other projects, and print what becomes of each: `make convert-samples SAMPLES=dir`.

The folder holds checkouts of the projects. Nothing of theirs is part of this repository.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vllm_operator.conversion.documents import convert_documents
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import Document, UnreadableFileError, read_documents

LARGEST_FILE = 1024 * 1024
"""Bytes of a file that is read: manifests are small."""


@dataclass(frozen=True)
class Peer:
    """The samples of one project.

    Attributes:
        folder: name of its checkout.
        patterns: paths of its samples.
    """

    folder: str
    patterns: tuple[str, ...]


HELM = ("helm/values*.yaml", "helm/tests/**/*.yaml", "tests/**/values*.yaml", "tutorials/**/values*.yaml")
PEERS = (
    Peer("production-stack", HELM),
    Peer("kubeai", ("manifests/models/*.yaml", "hack/dev-models/*.yaml", "examples/**/*.yaml")),
    Peer("kserve", ("**/samples/llmisvc/**/*.yaml",)),
    Peer("kubernetes-engine-samples", ("ai-ml/**/*.yaml", "ai-ml/**/*.yml")),
)
"""The vLLM production stack, KubeAI, KServe, and Google's samples of plain Deployments."""


def outcomes(path: Path) -> Iterator[tuple[str, str]]:
    """Return outcome and reason for each object of a file that runs vLLM."""
    if path.stat().st_size > LARGEST_FILE:
        return
    try:
        bodies = [document.body for document in read_documents(path.read_text(errors="replace"))]
    except UnreadableFileError as error:
        yield "unreadable", str(error)
        return
    for one in convert_documents(bodies):
        if one.server is None:
            yield "no server", f"{one.source}: {'; '.join(map(str, one.unconverted))}"
            continue
        problems = judge(Document(one.server)).problems
        reason = "; ".join(problem.message for problem in problems)
        yield ("refused", f"{one.source}: {reason}") if problems else ("accepted", one.source)


def main() -> int:
    """Print a table for each project; return 1 if an object has neither a server nor a reason."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    wordless = 0
    for peer in PEERS:
        counts: Counter[str] = Counter()
        for pattern in peer.patterns:
            for path in sorted((folder / peer.folder).glob(pattern)):
                for outcome, reason in outcomes(path):
                    counts[outcome] += 1
                    wordless += not reason.rpartition(": ")[2]
                    if outcome not in {"accepted", "unreadable"}:
                        print(f"{outcome}: {path.relative_to(folder)}: {reason}")
        print(f"{peer.folder}: " + (", ".join(f"{key} {counts[key]}" for key in sorted(counts)) or "no samples found"))
    return 1 if wordless else 0


if __name__ == "__main__":
    sys.exit(main())
