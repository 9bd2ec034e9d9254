"""The arguments of vLLM."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import MODEL, spec
from vllm_operator.api.engine import flag_fields
from vllm_operator.errors import InvalidSpecError
from vllm_operator.vllm.arguments import (
    NEGATABLE,
    OPERATOR_FLAGS,
    container_arguments,
    engine_values,
    field_of_flag,
    unescape_variables,
)
from vllm_operator.vllm.model_source import resolve_model


def planned(**fields: Any) -> list[str]:
    one = spec(**fields)
    return list(container_arguments(one, resolve_model(one.model)))


def engine(**fields: Any) -> list[str]:
    """Return the arguments that fields of the engine add."""
    bare = planned()
    return [argument for argument in planned(engine=fields) if argument not in bare]


def test_smallest_spec_sets_model_name_and_drain() -> None:
    assert planned() == [
        *("--model", "mistralai/Mistral-7B-Instruct-v0.3"),
        *("--served-model-name", "Mistral-7B-Instruct-v0.3"),
        *("--shutdown-timeout", "120"),
    ]


def test_order_is_model_names_engine_drain_and_extra_args() -> None:
    found = planned(
        model={**MODEL, "revision": "main", "servedNames": ["a", "b"]},
        engine={"extraArgs": ["--seed=1"], "maxModelLen": 8192, "tensorParallelSize": 2},
    )

    assert found == [
        *("--model", "mistralai/Mistral-7B-Instruct-v0.3"),
        *("--revision", "main"),
        *("--served-model-name", "a", "b"),
        *("--tensor-parallel-size", "2"),
        *("--max-model-len", "8192"),
        *("--shutdown-timeout", "120"),
        "--seed=1",
    ]


def test_order_of_the_manifest_does_not_count() -> None:
    one = planned(engine={"maxModelLen": 1, "dtype": "auto"})
    assert one == planned(engine={"dtype": "auto", "maxModelLen": 1})


ROWS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("true is the switch", {"enforceEager": True}, ["--enforce-eager"]),
    ("false is nothing for what is off by itself", {"enforceEager": False}, []),
    (
        "false is written out for a switch that is on by default",
        {"enablePrefixCaching": False},
        ["--no-enable-prefix-caching"],
    ),
    ("a fraction stays short", {"gpuMemoryUtilization": 0.90}, ["--gpu-memory-utilization", "0.9"]),
    ("one is one", {"gpuMemoryUtilization": 1.0}, ["--gpu-memory-utilization", "1"]),
    ("an empty text is unset", {"chatTemplate": "", "reasoningParser": ""}, []),
    ("an empty object is unset", {"speculativeConfig": {}}, []),
    ("an object is JSON", {"speculativeConfig": {"b": [1], "a": "x"}}, ["--speculative-config", '{"a":"x","b":[1]}']),
    ("a dash is bound", {"chatTemplate": "- be brief"}, ["--chat-template=- be brief"]),
    ("a large number is written out", {"maxModelLen": 1_048_576}, ["--max-model-len", "1048576"]),
    ("a variable of the kubelet is text", {"chatTemplate": "$(HOME) $$"}, ["--chat-template", "$$(HOME) $$$$"]),
    ("extra arguments are passed as they are", {"extraArgs": ["--x", "$(HOME)", ""]}, ["--x", "$(HOME)", ""]),
]


@pytest.mark.parametrize(("fields", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_engine_fields(fields: dict[str, Any], expected: list[str]) -> None:
    assert engine(**fields) == expected


def test_dashes_in_names_and_revisions_are_bound() -> None:
    found = planned(model={"uri": "file:///models/-x", "revision": "-r"})

    assert found[2:4] == ["--revision=-r", "--served-model-name=-x"]


def test_served_names_in_extra_args_replace_those_of_the_model() -> None:
    found = planned(engine={"extraArgs": ["--served-model-name", "a", "b"]})

    assert found.count("--served-model-name") == 1
    assert found[-3:] == ["--served-model-name", "a", "b"]


@pytest.mark.parametrize(
    ("fields", "drains"),
    [
        ({"image": "vllm/vllm-openai:v0.18.0"}, True),
        ({"image": "vllm/vllm-openai:v0.17.3"}, False),
        ({"image": "vllm/vllm-openai:latest"}, False),
        ({"image": "vllm/vllm-openai:latest", "version": "0.32.0"}, True),
        ({"image": "rocm/vllm:rocm6.4.1_vllm_0.10.1_20250909"}, False),
        ({"image": "nvcr.io/nvidia/vllm:25.09-py3"}, False),
        ({"image": "registry.example/team/vllm:1.4.2"}, False),
        ({"image": "registry.example/team/vllm:1.4.2", "version": "0.20.0"}, True),
        ({"image": "registry.redhat.io/rhaiis/vllm-cuda-rhel9:3.2.2"}, False),
        ({"image": "vllm/vllm-openai:v0.99.0"}, False),
        ({"image": "vllm/vllm-openai:v0.32.0", "version": "unknown"}, False),
    ],
)
def test_drain_flag_is_set_only_for_versions_that_have_it(fields: dict[str, Any], drains: bool) -> None:
    assert ("--shutdown-timeout" in planned(**fields)) is drains


def test_values_count_wherever_they_stand() -> None:
    typed = engine_values(spec(engine={"tensorParallelSize": 4, "maxNumSeqs": 128}))
    plain = engine_values(spec(engine={"extraArgs": ["-tp", "4", "--max_num_seqs=128"]}))

    assert typed == plain
    assert (plain.tensor_parallel_size, plain.pipeline_parallel_size, plain.max_num_seqs) == (4, 1, 128)


def test_last_of_repeated_arguments_counts() -> None:
    assert engine_values(spec(engine={"extraArgs": ["-tp=2", "--tensor-parallel-size", "8"]})).tensor_parallel_size == 8


@pytest.mark.parametrize("value", ["two", "0", "-1", "", "1.5", "²", "9" * 5000, "0" * 12])
def test_invalid_number_is_refused_by_position(value: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        engine_values(spec(engine={"extraArgs": ["--seed=1", f"--max-num-seqs={value}"]}))

    assert caught.value.field == "spec.engine.extraArgs[1]"


def test_every_typed_flag_is_traced_to_its_field() -> None:
    assert field_of_flag("--max-num-seqs") == "spec.engine.maxNumSeqs"
    assert field_of_flag("--served-model-name") == "spec.model.servedNames"
    assert [flag for flag in flag_fields().values() if not field_of_flag(flag).startswith("spec.engine.")] == []


def test_negatable_and_operator_flags_are_spelled_as_flags() -> None:
    assert set(flag_fields().values()) >= NEGATABLE
    assert all(flag.startswith("--") for flag in OPERATOR_FLAGS)
    assert not OPERATOR_FLAGS.keys() & set(flag_fields().values())


@given(
    # argparse before Python 3.13 drops a value that is nothing but two dashes.
    st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and text != "--"),
    st.lists(st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith("-")), min_size=1, max_size=3),
)
def test_vllms_parser_returns_the_values_of_the_spec(template: str, names: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--chat-template")
    parser.add_argument("--shutdown-timeout", type=int)
    written = planned(model={**MODEL, "servedNames": names}, engine={"chatTemplate": template})

    read = parser.parse_args([unescape_variables(argument) for argument in written])

    assert (read.served_model_name, read.chat_template, read.shutdown_timeout) == (names, template, 120)
