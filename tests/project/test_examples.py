"""Check that each manifest of the examples, the README and the docs is accepted, without a problem or a warning."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.desired.state import desired_state

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
BASE: dict[str, Any] = {
    "apiVersion": "vllm-operator.dev/v1alpha1",
    "kind": "VLLMServer",
    "metadata": {"name": "mistral"},
    "spec": {"model": {"uri": "hf://mistralai/Mistral-7B-Instruct-v0.3"}},
}
"""Completes the parts of a spec that the docs show."""


GATEWAY_PAGE = ROOT / "docs" / "how-to" / "gateway.md"
GATEWAY_EXAMPLE = ROOT / "examples" / "gateway.yaml"


def gateway_pages() -> list[Path]:
    """The pages whose manifests are gateways."""
    return sorted(GATEWAY_PAGE.parent.glob("gateway*.md"))


def shown() -> dict[str, dict[str, Any]]:
    """Return every VLLMServer, and every part of one, that the repository shows: place -> manifest."""
    examples = sorted(set((ROOT / "examples").glob("*.yaml")) - {GATEWAY_EXAMPLE})
    found = {path.name: yaml.safe_load(path.read_text()) for path in examples}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if page in gateway_pages():
            continue
        for number, block in enumerate(BLOCK.findall(page.read_text()), 1):
            name = f"{page.relative_to(ROOT)}#{number}"
            if block.startswith("apiVersion: vllm-operator"):
                found[name] = yaml.safe_load(block)
            elif block.startswith("spec:"):
                found[name] = {**BASE, "spec": {**BASE["spec"], **yaml.safe_load(block)["spec"]}}
    return found


def test_the_readme_and_the_guides_show_manifests() -> None:
    assert "README.md#1" in shown()
    assert len([name for name in shown() if name.startswith("docs/how-to/")]) > 6


@pytest.mark.parametrize("name", shown())
def test_what_a_newcomer_copies_is_accepted(name: str) -> None:
    body = shown()[name]
    body["metadata"] |= {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000", "generation": 1}

    desired = desired_state(body, frozenset({"PodMonitor", "PrometheusRule"}))

    assert (desired.problems, desired.warnings) == ((), ())
    assert {"Deployment", "Service"} <= {manifest.kind for manifest in desired.manifests}


def gateway_blocks() -> list[str]:
    """The blocks of YAML of all pages about gateways."""
    return [textwrap.dedent(block) for page in gateway_pages() for block in BLOCK.findall(page.read_text())]


def test_the_gateways_of_the_guide_are_accepted() -> None:
    specs = [
        document.get("spec")
        for block in (*gateway_blocks(), GATEWAY_EXAMPLE.read_text())
        for document in yaml.safe_load_all(block)
        if document.get("kind", "VLLMGateway") == "VLLMGateway"
    ]
    assert len(specs) > 12
    for spec in specs:
        GatewaySpec.model_validate(spec or {})
