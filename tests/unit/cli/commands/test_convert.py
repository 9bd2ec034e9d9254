from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.helpers.plugin import plugin
from tests.unit.conversion.samples import DEPLOYMENT, KSERVE, KUBEAI, PRODUCTION_STACK
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import read_documents


@pytest.mark.parametrize("text", [DEPLOYMENT, KSERVE, KUBEAI], ids=["deployment", "kserve", "kubeai"])
def test_the_output_is_an_accepted_manifest_with_its_losses(text: str) -> None:
    ended = plugin("convert", "-f", "-", stdin=text)
    assert ended.code == 0, ended.stderr
    (document,) = read_documents(ended.stdout)
    assert judge(document).problems == ()
    assert "# Not carried over: " in ended.stdout
    assert ": not carried over: " in ended.stderr


def test_objects_that_cannot_become_servers_end_with_1() -> None:
    ended = plugin("convert", "-f", "-", stdin=PRODUCTION_STACK)
    assert ended.code == 1
    assert [body["metadata"]["name"] for body in yaml.safe_load_all(ended.stdout)] == ["llama3"]
    assert "modelSpec ray: cannot be converted: raySpec: " in ended.stderr


def test_a_refused_server_is_printed_with_the_reason() -> None:
    ended = plugin("convert", "-f", "-", stdin=KUBEAI.replace("hf://meta-llama/Llama-3.1-8B-Instruct", "s3://b/m"))
    assert ended.code == 1
    assert "Model llama-3.1-8b: refused: spec.model.uri: s3://, gs:// and oci:// are not supported yet" in ended.stderr


def test_files_are_read_together(tmp_path: Path) -> None:
    parts = DEPLOYMENT.split("---\n")
    for index, part in enumerate(parts):
        (tmp_path / f"{index}.yaml").write_text(part)
    files = [argument for index in range(len(parts)) for argument in ("-f", str(tmp_path / f"{index}.yaml"))]
    spec = yaml.safe_load(plugin("convert", *files).stdout)["spec"]
    assert spec["service"]["port"] == 8080


def test_json_and_namespace() -> None:
    ended = plugin("convert", "-f", "-", "-o", "json", "-n", "other", stdin=DEPLOYMENT)
    (result,) = json.loads(ended.stdout)
    assert result["server"]["metadata"] == {"name": "mistral-7b", "namespace": "other"}
    assert result["accepted"] is True
    assert {"field", "message"} == result["notCarriedOver"][0].keys()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: ConfigMap\napiVersion: v1\n", "nothing to convert: it reads values of the vLLM production stack"),
        ("a: [", "not valid YAML"),
        ("", "nothing to convert"),
    ],
)
def test_other_files_are_refused(text: str, words: str) -> None:
    ended = plugin("convert", "-f", "-", stdin=text)
    assert ended.code == 1
    assert words in ended.stderr


def test_terminal_sequences_of_a_source_are_not_printed() -> None:
    ended = plugin("convert", "-f", "-", stdin=KUBEAI.replace("nvidia-gpu-l4:2", '"evil\\e[2J:1"'))
    assert "\x1b" not in ended.text
