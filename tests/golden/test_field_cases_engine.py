"""Manifests that people need, judged as a whole: images, versions and arguments of vLLM."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.helpers.paths import REPOSITORY
from vllm_operator.desired.state import DesiredState, desired_state

CASES = REPOSITORY / "tests" / "data" / "field_cases"


def state_of(name: str, status: dict[str, Any] | None = None, **spec: Any) -> DesiredState:
    """Return the desired state of a manifest, with some fields of its spec replaced."""
    body = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    body["metadata"] |= {"namespace": "default", "uid": "0", "generation": 1}
    body["spec"] |= spec
    body["status"] = status or {}
    return desired_state(body, frozenset())


def container_of(state: DesiredState) -> dict[str, Any]:
    """Return the container of vLLM in the Deployment of an accepted server."""
    assert state.problems == ()
    (deployment,) = (manifest.body for manifest in state.manifests if manifest.kind == "Deployment")
    containers: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "vllm")


def test_tag_of_a_product_adds_no_flag_on_a_guess() -> None:
    state = state_of("01-rhaiis-tag")

    assert "--shutdown-timeout" not in container_of(state)["args"]
    assert "Red Hat AI Inference Server" in state.warnings[0]
    assert "spec.version" in state.warnings[0]


def test_declared_version_of_a_product_is_used() -> None:
    assert "--shutdown-timeout" in container_of(state_of("01-rhaiis-tag", version="0.18.1"))["args"]


def test_flags_of_a_fork_are_accepted() -> None:
    state = state_of("51-tenstorrent")

    assert container_of(state)["args"][-2:] == ["--tt-device", "p150x8"]
    assert "--shutdown-timeout" not in container_of(state)["args"]


def test_refused_flag_of_a_fork_names_the_way_past() -> None:
    (problem,) = state_of("51-tenstorrent", version="0.20.0").problems

    assert problem.reason == "UnknownFlag"
    assert "set spec.version: unknown" in problem.message
    assert state_of("51-tenstorrent", version="unknown").problems == ()


def test_old_switch_with_a_value_names_the_typed_field() -> None:
    messages = [problem.message for problem in state_of("14-kubeai-405b").problems]

    assert any("set spec.engine.enableChunkedPrefill: false" in message for message in messages)
    assert not any("takes no value;" in message for message in messages)


def test_suggested_spelling_of_json_is_accepted() -> None:
    state = state_of("17-json-quotes")
    suggestion = state.problems[0].message.rpartition(": write ")[2]
    (item,) = yaml.safe_load(f"[{suggestion}]")

    assert item == '--speculative-config={"method":"qwen3_next_mtp","num_speculative_tokens":2}'
    assert "remove the quotes" in state.problems[1].message
    assert (
        state_of("17-json-quotes", engine={"extraArgs": [item, "--hf-overrides", '{"rope_parameters":{}}']}).problems
        == ()
    )


def test_image_without_an_entrypoint_gets_a_command() -> None:
    bare, with_command = (
        state_of("08b-amd-no-command"),
        state_of("08b-amd-no-command", engine={"command": ["vllm", "serve"]}),
    )

    assert "command" not in container_of(bare)
    assert "set engine.command" in bare.warnings[0]
    assert container_of(with_command)["command"] == ["vllm", "serve"]
    assert with_command.warnings == ()


@pytest.mark.parametrize("name", ["26-multinode", "26b-multinode-nnodes"])
def test_engine_over_several_nodes_is_refused(name: str) -> None:
    problems = state_of(name).problems

    assert {problem.reason for problem in problems} == {"MultiNode"}
    assert all("not supported yet" in problem.message for problem in problems)


def test_served_name_is_the_last_part_until_named() -> None:
    both = {"uri": "hf://ibm-granite/granite-4.2-8b", "servedNames": ["ibm-granite/granite-4.2-8b", "granite-4.2-8b"]}

    assert state_of("41-served-name").served_names == ("granite-4.2-8b",)
    assert state_of("41-served-name", model=both).served_names == tuple(both["servedNames"])


def test_gguf_file_of_the_hub_goes_to_vllm_as_written() -> None:
    arguments = container_of(state_of("05-gguf"))["args"]

    assert arguments[:4] == ["--model", "unsloth/Qwen3-0.6B-GGUF:Q4_K_M", "--served-model-name", "qwen3"]
    assert "--tokenizer Qwen/Qwen3-0.6B" in " ".join(arguments)


def test_reported_version_names_metrics_and_the_remedy_but_changes_no_pod() -> None:
    before = state_of("01-rhaiis-tag")
    after = state_of("01-rhaiis-tag", status={"version": "0.9.2"})

    assert container_of(before) == container_of(after)
    assert before.follows_report
    assert "set spec.version: 0.9.2" in after.warnings[0]
