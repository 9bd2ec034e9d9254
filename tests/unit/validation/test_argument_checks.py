"""Arguments for several nodes are refused, variables in served names too, and a configuration file is noted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, spec
from vllm_operator.validation.checks import spec_problems, spec_warnings

SEVERAL_NODES = [
    ["--nnodes", "2", "--nnodes=1"],
    ["--nnodes=4"],
    ["-n", "2"],
    ["-n=2"],
    ["--node-rank=1"],
    ["-r", "1"],
    ["--node_rank", "1"],
    ["--nnodes", "$(NODES)"],
    ["--data-parallel-address", "10.0.0.1"],
    ["-dpa", "10.0.0.1"],
    ["--data-parallel-rank=0"],
    ["--data-parallel-start-rank", "4"],
    ["--data-parallel-external-lb"],
    ["-dph"],
    ["--data-parallel-size=4", "--data-parallel-size-local=2"],
    ["-dp", "4", "-dpl", "2"],
    ["-tp", "8", "-pp", "2", "--distributed-executor-backend", "ray"],
    ["-tp=16", "--distributed-executor-backend=ray"],
    ["-dp=16", "--data-parallel-backend=ray"],
]
ONE_NODE = [
    ["--nnodes", "1", "--node-rank", "0"],
    ["-tp=8", "--distributed-executor-backend=ray"],
    ["-tp=16"],
    ["-dp=4", "--data-parallel-size-local=4"],
    ["--no-data-parallel-hybrid-lb"],
    ["--distributed-executor-backend=mp", "-tp=16"],
]


@pytest.mark.parametrize("arguments", SEVERAL_NODES)
def test_engine_over_several_nodes_is_refused_with_the_reason(arguments: list[str]) -> None:
    problems = spec_problems(spec(engine={"extraArgs": arguments}))

    assert {problem.reason for problem in problems} == {"MultiNode"}
    assert all("one replica is one pod" in problem.message for problem in problems)


@pytest.mark.parametrize("version", ["0.32.0", "0.9.2", "unknown"])
def test_several_nodes_are_refused_for_each_version(version: str) -> None:
    reasons = {one.reason for one in spec_problems(spec(version=version, engine={"extraArgs": ["--nnodes", "2"]}))}

    assert "MultiNode" in reasons


@pytest.mark.parametrize("arguments", ONE_NODE)
def test_arguments_for_one_node_are_accepted(arguments: list[str]) -> None:
    assert spec_problems(spec(engine={"extraArgs": arguments})) == ()


def test_count_of_accelerators_says_that_one_node_has_them() -> None:
    arguments = ["-tp=16", "--distributed-executor-backend=ray"]

    assert spec_problems(spec(engine={"extraArgs": arguments}, accelerator={"count": 16})) == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--served-model-name", "$(POD_NAME)"],
        ["--served-model-name=a-$(POD_NAME)"],
        ["--served_model_name", "a", "$$$(POD_NAME)"],
        ["--served-model", "$(POD_NAME)"],
    ],
)
def test_variable_among_served_names_is_refused(arguments: list[str]) -> None:
    (problem,) = spec_problems(spec(engine={"extraArgs": arguments}))

    assert problem.reason == "InvalidArgument"
    assert "spec.model.servedNames" in problem.message


@pytest.mark.parametrize("name", ["$$(POD_NAME)", "$POD_NAME", "$(", "mistral"])
def test_names_without_a_variable_are_accepted(name: str) -> None:
    assert spec_problems(spec(engine={"extraArgs": ["--served-model-name", name]})) == ()


@pytest.mark.parametrize("fields", [{"extraArgs": ["--config", "/etc/vllm.yaml"]}, {"extraArgs": ["--config=/a.yml"]}])
def test_contents_of_a_configuration_file_are_noted(fields: dict[str, Any]) -> None:
    (note,) = spec_warnings(spec(engine=fields))

    assert note.startswith("the file of --config was not checked")


def test_server_without_a_configuration_file_needs_no_note() -> None:
    assert spec_warnings(spec(model={**MODEL, "servedNames": ["$(POD_NAME)"]})) == ()
