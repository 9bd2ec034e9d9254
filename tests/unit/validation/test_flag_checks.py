"""Flags and values that a version of vLLM does not accept: each problem names the field, the item and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.checks import spec_problems, spec_warnings
from vllm_operator.validation.flag_checks import LONGEST_HINTED, MOST_HINTS, MOST_PROBLEMS, NOT_JUDGED
from vllm_operator.vllm.releases import load_release

ITEM = "spec.engine.extraArgs[0]: "


def reasons_and_messages(*arguments: str, version: str = "0.32.0", **engine: Any) -> list[tuple[str, str]]:
    """Return reason and message of each problem."""
    found = spec_problems(spec(version=version, engine={"extraArgs": list(arguments), **engine}))
    judged = {"UnknownFlag", "InvalidArgument"}
    assert all(NOT_JUDGED in one.message or "further" in one.message for one in found if one.reason in judged)
    return [(one.reason, one.message.removesuffix(NOT_JUDGED)) for one in found]


UNKNOWN = [
    (
        "a slip of the pen",
        ["--max-model-length=8"],
        "vLLM 0.32.0 has no --max-model-length: did you mean --max-model-len?",
    ),
    ("nothing like it", ["--zzz", "1"], "vLLM 0.32.0 has no --zzz: correct or remove it"),
    ("an attached number", ["-tp4"], "vLLM 0.32.0 has no -tp4: did you mean -tp?"),
    ("a switch without a negative", ["--no-disable-log-stats"], "--disable-log-stats has no --no- form in vLLM 0.32.0"),
    ("a prefix of two", ["--max-num-b=1", "--max-lora=1"], "--max-lora could be --max-lora-cls-labels, "),
]


@pytest.mark.parametrize(("arguments", "message"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_unknown_flag_is_refused(arguments: list[str], message: str) -> None:
    ((reason, text),) = reasons_and_messages(*arguments)

    assert reason == "UnknownFlag"
    assert text.startswith(
        f"spec.engine.extraArgs[{len(arguments) - 1 if message.startswith('--max') else 0}]: {message}"
    )


DROPPED = [
    ("--disable-log-requests", "--enable-log-requests"),
    ("--num-scheduler-steps=8", "no longer has a multi-step mode"),
    ("--swap-space=4", "--cpu-offload-gb"),
    ("--max-seq-len-to-capture=8192", "--max-cudagraph-capture-size"),
    ("--device=cuda", "the image decides"),
    ("--use-v2-block-manager", "remove it"),
]


@pytest.mark.parametrize(("argument", "way_out"), DROPPED)
def test_removed_flag_is_refused_with_version_and_remedy(argument: str, way_out: str) -> None:
    ((reason, message),) = reasons_and_messages(argument)

    assert reason == "UnknownFlag"
    assert message.startswith(f"{ITEM}vLLM 0.32.0 has no {argument.partition('=')[0]}, it was dropped ")
    assert way_out in message


@pytest.mark.parametrize("argument", [row[0] for row in DROPPED])
def test_version_that_still_has_the_flag_accepts_it(argument: str) -> None:
    assert reasons_and_messages(argument, version="0.9.2") == []


def test_flag_of_a_newer_version_names_that_version() -> None:
    ((_, message),) = reasons_and_messages("--performance-mode=balanced", version="0.9.2")

    assert message.startswith(f"{ITEM}vLLM 0.9.2 has no --performance-mode, it was added ")
    assert "use a newer image" in message


VALUES = [
    ("a missing value", ["--max-loras"], "--max-loras needs a value"),
    ("a missing value before a flag", ["--max-loras", "--enforce-eager"], "--max-loras needs a value"),
    (
        "a truth bound to a switch with a field",
        ["--enforce-eager=true"],
        "--enforce-eager is a switch and takes no value: set spec.engine.enforceEager: true instead",
    ),
    (
        "false bound to a switch with a field",
        ["--enable-chunked-prefill=false"],
        "--enable-chunked-prefill is a switch and takes no value: set spec.engine.enableChunkedPrefill: false instead",
    ),
    (
        "false bound to a negated switch",
        ["--no-enable-prefix-caching=False"],
        "--no-enable-prefix-caching is a switch and takes no value: set spec.engine.enablePrefixCaching: true instead",
    ),
    (
        "false bound to a switch without a field",
        ["--enable-log-requests=false"],
        "--enable-log-requests is a switch and takes no value: write --no-enable-log-requests",
    ),
    (
        "true bound to a switch without a field",
        ["--enable-log-requests='true'"],
        "--enable-log-requests is a switch and takes no value: write --enable-log-requests",
    ),
    (
        "false bound to a switch without a negative",
        ["--disable-log-stats=0"],
        "--disable-log-stats is a switch and takes no value: remove it",
    ),
    ("a word bound to a switch", ["--enforce-eager=maybe"], "--enforce-eager is a switch and takes no value"),
    (
        "JSON in quotes of a shell",
        ["--limit-mm-per-prompt='{\"a\": 1}'"],
        '--limit-mm-per-prompt needs JSON, not "\'{"a": 1}\'": remove the quotes around it, which only a shell reads',
    ),
    (
        "JSON in quotes of a shell for a flag that takes text too",
        ["--hf-overrides='{\"a\": 1}'"],
        "--hf-overrides cannot read '{\"a\": 1}': remove the quotes around it, which only a shell reads",
    ),
    (
        "a number in quotes of a shell",
        ['--max-loras="2"'],
        '--max-loras needs a whole number, not ""2"": remove the quotes around it, which only a shell reads',
    ),
    ("no whole number", ["--max-loras=1.5"], '--max-loras needs a whole number, not "1.5"'),
    ("no size", ["--max-model-len=8x"], '--max-model-len needs a whole number, such as 8192, not "8x"'),
    ("no number", ["--cpu-offload-gb=lots"], '--cpu-offload-gb needs a number, not "lots"'),
    ("no JSON", ["--limit-mm-per-prompt={image: 2}"], '--limit-mm-per-prompt needs JSON, not "{image: 2}"'),
    (
        "none of the choices",
        ["--scheduling-policy=lifo"],
        '--scheduling-policy must be one of fcfs, priority, not "lifo"',
    ),
]


@pytest.mark.parametrize(("arguments", "message"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_value_that_the_parser_refuses_is_refused(arguments: list[str], message: str) -> None:
    assert reasons_and_messages(*arguments) == [("InvalidArgument", ITEM + message)]


def test_value_behind_a_switch_belongs_to_no_flag() -> None:
    """vLLM would read it as the name of the model."""
    message = 'spec.engine.extraArgs[1]: "mistral" belongs to no flag: remove it'

    assert reasons_and_messages("--enforce-eager", "mistral") == [("InvalidArgument", message)]


@pytest.mark.parametrize("value", ["false", "False", "0"])
def test_truth_behind_a_switch_names_the_field(value: str) -> None:
    ((_, message),) = reasons_and_messages("--enable-chunked-prefill", value)

    assert "spec.engine.enableChunkedPrefill: false" in message


def test_many_unknown_flags_are_counted_and_few_get_a_hint() -> None:
    flags = [f"--max-model-lem{number}" for number in range(256)]

    found = reasons_and_messages(*flags)

    assert len(found) == MOST_PROBLEMS + 1
    assert sum("did you mean" in message for _, message in found) == MOST_HINTS
    assert f"none of {256 - MOST_PROBLEMS} further flags" in found[-1][1]


def test_long_unknown_flag_is_cut_and_gets_no_hint() -> None:
    ((_, message),) = reasons_and_messages("--max-model-len" + "x" * 16_000)

    assert len(message) < 300
    assert "did you mean" not in message


def test_hints_reach_the_longest_flag() -> None:
    assert max(map(len, load_release((0, 32, 0)).flags)) <= LONGEST_HINTED


def test_many_wrong_values_are_counted() -> None:
    assert len(reasons_and_messages(*["--max-loras=x"] * 256)) <= MOST_PROBLEMS + 1


def test_typed_field_is_named() -> None:
    ((reason, message),) = reasons_and_messages(dtype="bf16")

    assert reason == "InvalidArgument"
    assert message.startswith("spec.engine.dtype: --dtype must be one of auto, bfloat16, ")


ACCEPTED = [
    ["--max-model-len=128k", "--max-model-len", "-1", "--max-model-len=auto"],
    ["--compilation-config.level", "3", "-O3", "-cc.mode=1", "--kv-transfer-config", "{}"],
    ["--max-num-batched-token", "8192", "--no-enable-prefix-caching"],
    ["--max-model-len=$(LENGTH)", "$(MORE)", "--$(NAME)=x"],
    ["--quantization=a-plugins-own", "--load-format", "a-plugins-own", "--tool-call-parser=mine"],
    ["--collect-detailed-traces", "model", "worker"],
]


@pytest.mark.parametrize("arguments", ACCEPTED)
def test_values_that_vllm_accepts_are_accepted(arguments: list[str]) -> None:
    assert reasons_and_messages(*arguments) == []


def test_unknown_flag_of_a_newer_version_is_a_warning() -> None:
    newer = spec(version="0.99.0", engine={"extraArgs": ["--brand-new", "1", "--enforce-eager"]})

    assert spec_problems(newer) == ()
    assert spec_warnings(newer)[0].startswith("--brand-new could not be checked: vLLM 0.99.0 is newer than ")


def test_unknown_version_is_accepted_with_a_warning() -> None:
    unknown = spec(image="private/vllm:latest", engine={"extraArgs": ["--brand-new", "1"]})

    assert spec_problems(unknown) == ()
    assert "flags could not be checked" in spec_warnings(unknown)[0]


def test_known_version_needs_no_note() -> None:
    assert spec_warnings(spec(version="0.32.0")) == ()


def test_flag_between_two_measured_versions_is_refused_when_neither_has_it() -> None:
    assert reasons_and_messages("--zzz=1", version="0.25.0")[0][0] == "UnknownFlag"
    assert reasons_and_messages("--max-num=1", "--max-loras=x", version="0.25.0") == []
