from __future__ import annotations

import io
import zipfile

import pytest

from vllm_operator.cli import bundle as module
from vllm_operator.cli.bundle import Bundle


def contents(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_files_and_problems_are_packed() -> None:
    bundle = Bundle()
    bundle.add("a.yaml", "a: 1\n")
    bundle.problems.append("events: no right")
    assert contents(bundle.finish()) == {"a.yaml": "a: 1\n", "problems.txt": "events: no right\n"}


def test_report_without_problems_says_so() -> None:
    assert contents(Bundle().finish()) == {"problems.txt": "everything could be read\n"}


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    bundle = Bundle()
    bundle.add("large", "x" * 11)
    assert bundle.names == []
    assert "large: left out" in bundle.problems[0]
