"""Secrets are masked by shape and by name; what only resembles them stays."""

from __future__ import annotations

import re

import pytest

from tests.helpers.paths import DATA
from vllm_operator.diagnosis.log_text import MESSAGE_LENGTH, one_line
from vllm_operator.diagnosis.secrets import MASK, mask_secrets

SECRETS = DATA / "secrets"
MASKED = (SECRETS / "masked.txt").read_text().splitlines()
"""Lines with each of their secrets between ⟦ and ⟧."""

KEPT = (SECRETS / "kept.txt").read_text().splitlines()
"""Lines that have no secret."""


def unmarked(line: str) -> str:
    """Return a line without its marks."""
    return line.replace("⟦", "").replace("⟧", "")


@pytest.mark.parametrize("line", MASKED)
def test_secret_is_masked(line: str) -> None:
    masked = mask_secrets(unmarked(line))

    assert MASK in masked
    for secret in re.findall("⟦(.*?)⟧", line):
        assert secret not in masked
        assert all(part not in masked for part in re.findall(r"[A-Za-z0-9]{6,}", secret))


@pytest.mark.parametrize("line", KEPT)
def test_text_without_a_secret_stays(line: str) -> None:
    assert mask_secrets(line) == line


@pytest.mark.parametrize("line", MASKED)
def test_masked_text_stays_as_it_is(line: str) -> None:
    masked = mask_secrets(unmarked(line))
    assert mask_secrets(masked) == masked


@pytest.mark.parametrize("line", MASKED)
@pytest.mark.parametrize("before", [0, 500, 900, 1000, 1015, 1023, 1500])
def test_secret_across_a_cut_does_not_leak(line: str, before: int) -> None:
    masked = one_line("x " * (before // 2) + unmarked(line) + " y" * 4000)

    assert len(masked) <= MESSAGE_LENGTH
    for secret in re.findall("⟦(.*?)⟧", line):
        assert secret not in masked


def test_corpus_has_more_than_two_hundred_lines() -> None:
    assert len(MASKED) + len(KEPT) > 200
