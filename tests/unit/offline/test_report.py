"""Files with several documents, and the printed results."""

from __future__ import annotations

import json

import yaml

from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.offline.judgement import Judgement
from vllm_operator.offline.report import as_json, as_yaml, explanations, judge_file

SERVER = "apiVersion: vllm-operator.dev/v1alpha1\nkind: VLLMServer\nmetadata: {name: a}\nspec: {model: {uri: x/y}}\n"
REFUSED = SERVER.replace("x/y", "s3://x/y")
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\n"


def judged(text: str) -> list[Judgement]:
    return judge_file(text, "llm", MONITORING_KINDS, "free")


def test_one_server_is_one_result_and_several_are_a_list() -> None:
    one, two = json.loads(as_json(judged(SERVER))), json.loads(as_json(judged(f"{SERVER}---\n{REFUSED}")))

    assert sorted(one) == ["accepted", "notes", "objects", "problems"]
    assert [item["accepted"] for item in two] == [True, False]
    assert sorted(two[1]["problems"][0]) == ["field", "message", "reason"]


def test_objects_of_other_kinds_are_left_out_next_to_a_server() -> None:
    assert [judgement.name for judgement in judged(f"{SECRET}---\n{SERVER}")] == ["llm/a"]
    assert [judgement.accepted for judgement in judged(SECRET)] == [False]


def test_items_of_a_list_are_judged() -> None:
    listed = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(SERVER), yaml.safe_load(REFUSED)]}
    )

    assert [judgement.accepted for judgement in judged(listed)] == [True, False]


def test_unreadable_and_empty_files_are_refused() -> None:
    assert [judgement.problems[0].reason for judgement in judged("a: [")] == ["UnreadableFile"]
    assert [judgement.problems[0].reason for judgement in judged("# nothing")] == ["EmptyFile"]


def test_yaml_holds_the_objects_and_the_lines_the_reasons() -> None:
    judgements = judged(f"{SERVER}---\n{REFUSED}")
    kinds = [body["kind"] for body in yaml.safe_load_all(as_yaml(judgements))]

    assert kinds == ["Service", "Deployment", "PodMonitor", "PrometheusRule"]
    assert as_yaml(judgements[1:]) == ""
    assert next(explanations(judgements[1:])).startswith("llm/a: refused: spec.model.uri: ")
