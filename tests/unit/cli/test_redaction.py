from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.helpers.paths import DATA
from vllm_operator.cli.redaction import LAST_APPLIED, without_secrets

TOKEN = "hf_" + "AbCdEfGh1234567890"


@pytest.mark.parametrize(
    "body",
    [
        {"env": [{"name": "HF_TOKEN", "value": TOKEN}]},
        {"env": [{"name": "DB_PASSWORD", "value": "hunter2-" + "hunter2"}]},
        {"env": [{"value": "s3cr3t-words-here", "name": "API_KEY"}]},
        {"args": ["--api-key", "plainword1"]},
        {"args": ["--api-key=plainword1"]},
        {"message": f"could not log in with {TOKEN}"},
        {"annotations": {LAST_APPLIED: json.dumps({"token": TOKEN})}},
        {"url": "https://user:pass1234@registry.example/x"},
        {"data": {"password": "hunter2hunter2"}},
        {TOKEN: 1},
        {"a": [[{"b": f"Authorization: Bearer {TOKEN}"}]]},
    ],
)
def test_secrets_are_masked(body: dict[str, Any]) -> None:
    text = yaml.safe_dump(without_secrets(body), width=4096)
    for secret in (TOKEN, "hunter2", "s3cr3t", "plainword1", "pass1234"):
        assert secret not in text


def test_harmless_values_stay() -> None:
    body = {
        "env": [{"name": "HOME", "value": "/cache"}, {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
        "args": ["--model", "org/name", "--max-model-len", "8192", "--enforce-eager"],
        "replicas": 3,
        "ready": True,
        "none": None,
    }
    assert without_secrets(body) == body


def test_managed_fields_are_left_out() -> None:
    assert without_secrets({"metadata": {"name": "a", "managedFields": [{}]}}) == {"metadata": {"name": "a"}}


def test_depth_and_length_are_bounded() -> None:
    deep: Any = "end"
    for _ in range(1000):
        deep = [deep]
    assert "[cut]" in json.dumps(without_secrets(deep))
    assert without_secrets("x " * 100_000).endswith("[cut]")


LINES = [line for line in (DATA / "secrets" / "masked.txt").read_text().splitlines() if "⟦" in line]


@pytest.mark.parametrize("line", LINES)
def test_recorded_secrets_are_masked(line: str) -> None:
    """The brackets mark the secret in the recordings."""
    secrets = re.findall("⟦(.*?)⟧", line)
    text = json.dumps(without_secrets({"message": line.replace("⟦", "").replace("⟧", "")}), ensure_ascii=False)
    assert [secret for secret in secrets if secret in text] == []
