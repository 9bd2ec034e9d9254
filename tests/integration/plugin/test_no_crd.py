"""The answers of each command on a cluster in which the operator was never installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.alone import plane_or_skip
from tests.helpers.plugin import plugin
from tests.integration.plugin.test_bad_input import EVERY, NEW


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    """An API server without the CRD."""
    with plane_or_skip() as plane:
        yield plane.kubeconfig


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_missing_crd_is_named_with_the_way_out(words: tuple[str, ...], kubeconfig: Path) -> None:
    ended = plugin(*words, "--kubeconfig", str(kubeconfig), stdin=NEW)
    assert ended.code == 3, ended.text
    assert "the cluster has no CRD vllmservers.vllm-operator.dev: install the operator" in ended.stderr


def test_checklist_of_the_cluster_shows_the_missing_crd(kubeconfig: Path) -> None:
    ended = plugin("check", "--cluster", "-o", "json", "--kubeconfig", str(kubeconfig))
    assert ended.code == 1
    [crd] = [item for item in json.loads(ended.stdout)[0]["items"] if item["id"] == "crd"]
    assert crd["level"] == "fail"
