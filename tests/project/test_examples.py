"""What the examples and the README show is accepted, without a problem or a remark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.desired.state import desired_state

ROOT = Path(__file__).resolve().parents[2]
README_MANIFEST = re.compile(r"```yaml\n(apiVersion: vllm-operator.*?)```", re.DOTALL)


def shown() -> dict[str, str]:
    """Every manifest that a newcomer meets first."""
    texts = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))}
    (readme,) = README_MANIFEST.findall((ROOT / "README.md").read_text())
    return {**texts, "README.md": readme}


@pytest.mark.parametrize("name", shown())
def test_what_a_newcomer_copies_is_accepted(name: str) -> None:
    body: dict[str, Any] = yaml.safe_load(shown()[name])
    body["metadata"] |= {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000", "generation": 1}

    desired = desired_state(body, frozenset({"PodMonitor", "PrometheusRule"}))

    assert (desired.problems, desired.warnings) == ((), ())
    assert {"Deployment", "Service"} <= {manifest.kind for manifest in desired.manifests}
