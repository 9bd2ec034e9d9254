"""No text of a tenant takes more than linear time: logs, termination messages, Events, messages in a status."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.helpers.linear_time import UNITS, around, assert_linear, repeat
from vllm_operator.diagnosis.causes import CAUSES, diagnose_log
from vllm_operator.diagnosis.event_reasons import diagnose_events, events_diagnosis_from_status
from vllm_operator.diagnosis.log_text import (
    LOG_LENGTH,
    log_lines,
    most_telling_line,
    one_line,
    strip_controls,
    valid_reason,
)
from vllm_operator.diagnosis.secrets import mask_secrets
from vllm_operator.diagnosis.startup_stage import find_stage

OBJECT_LENGTH = 1_500_000
"""Characters of the largest text that etcd's limit for one object lets through."""

LITERALS = {row.log: row.literals for row in CAUSES}
ALL_LITERALS = [literal for row in CAUSES for literal in row.literals]


def events_of(message: str) -> object:
    """Diagnose Events of each reason with this message."""
    reasons = ("FailedMount", "Killing", "FailedCreatePodSandBox", "Other")
    return diagnose_events("Pod", [{"reason": reason, "message": message} for reason in reasons])


FUNCTIONS: dict[str, tuple[Callable[[str], object], int]] = {
    "diagnose_log": (diagnose_log, LOG_LENGTH),
    "find_stage": (lambda log: find_stage(log, None), LOG_LENGTH),
    "most_telling_line": (lambda log: most_telling_line(log_lines(log)), LOG_LENGTH),
    "strip_controls": (strip_controls, LOG_LENGTH),
    "mask_secrets": (mask_secrets, 20_000),
    "one_line": (one_line, OBJECT_LENGTH),
    "valid_reason": (lambda text: valid_reason(text, "Other"), OBJECT_LENGTH),
    "diagnose_events": (events_of, OBJECT_LENGTH),
    "events_diagnosis_from_status": (
        lambda text: events_diagnosis_from_status({"reason": "Killing", "message": text}),
        OBJECT_LENGTH,
    ),
}
"""Function -> the function, and the characters of the largest text that it is given."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_class_of_characters_takes_linear_time(name: str) -> None:
    call, length = FUNCTIONS[name]
    for unit in UNITS:
        assert_linear(call, unit, length)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mixtures_take_linear_time(name: str) -> None:
    call, length = FUNCTIONS[name]
    source = random.Random(12)
    for _ in range(30):
        assert_linear(call, "".join(source.choices([*UNITS, *ALL_LITERALS], k=40)), length)


@pytest.mark.parametrize("name", LITERALS)
def test_literals_of_a_row_take_linear_time(name: str) -> None:
    for unit in around(LITERALS[name]):
        assert_linear(diagnose_log, unit, LOG_LENGTH)
        assert_linear(diagnose_log, f"{unit}\n", LOG_LENGTH)


def test_log_with_every_literal_takes_linear_time() -> None:
    for gap in ("", "\n", "-" * 200 + "\n", "x" * 300):
        assert_linear(diagnose_log, gap.join(ALL_LITERALS), LOG_LENGTH)


def test_honest_log_with_data_urls_takes_linear_time() -> None:
    line = "INFO 10-02 09:11:12 [logger.py:1] Received request: prompt: 'data:image/png;base64,"
    assert_linear(diagnose_log, line + "iVBORw0KGgoAAAANSUhEUgAA/+" * 150 + "'\n", LOG_LENGTH)


@pytest.mark.parametrize("row", CAUSES, ids=lambda row: row.log)
def test_row_has_literals_in_lower_case(row: object) -> None:
    literals = row.literals  # type: ignore[attr-defined]
    assert literals
    assert all(literal == literal.lower() for literal in literals)


def test_longer_log_is_read_from_its_end() -> None:
    assert diagnose_log("Failed to infer device type\n" + repeat("x\n", 2 * LOG_LENGTH)) is not None
    assert diagnose_log(repeat("x", 2 * LOG_LENGTH) + "\nFailed to infer device type").reason == "NoAccelerator"  # type: ignore[union-attr]
