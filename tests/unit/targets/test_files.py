from __future__ import annotations

import shlex
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import server
from vllm_operator.errors import TemplateError
from vllm_operator.targets.files import (
    comment_lines,
    json_file,
    quote_argument,
    quote_nginx,
    text_file,
    unit_word,
    yaml_file,
)
from vllm_operator.targets.target import NotCarried


@given(st.dictionaries(st.text(), st.text()))
def test_yaml_keeps_every_text(values: dict[str, str]) -> None:
    assert yaml.safe_load(yaml_file([values])) == values


def test_yaml_has_blocks_for_lines_and_a_comment() -> None:
    text = yaml_file([{"a": "x\ny\n"}], ["# why"])
    assert text == "# why\na: |\n  x\n  y\n"


def test_json_keeps_letters() -> None:
    assert json_file({"a": "ü"}) == '{\n  "a": "ü"\n}\n'


def test_comments_stay_on_their_lines() -> None:
    lines = comment_lines(server("mistral"), "compose", [NotCarried("a", "b\nrm -rf /")])
    assert all(line.startswith("# ") and "\n" not in line for line in lines)
    assert lines[-1] == "# - a: b rm -rf /"


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a b", '"a b"'),
        ('say "x"', '"say \\"x\\""'),
        ("50% $HOME", '"50%% $$HOME"'),
        ("a\nb\tc", '"a\\nb\\tc"'),
        ("back\\slash", '"back\\\\slash"'),
    ],
)
def test_arguments_of_units_are_quoted(value: str, quoted: str) -> None:
    assert quote_argument(value) == quoted


@pytest.mark.parametrize("value", ["a\x00b", "a\x1bb"])
def test_control_characters_are_refused_in_units(value: str) -> None:
    with pytest.raises(TemplateError, match="cannot hold"):
        quote_argument(value)


@pytest.mark.parametrize("value", ["a\nExecStart=/bin/false", "a\\"])
def test_a_word_cannot_end_its_line(value: str) -> None:
    with pytest.raises(TemplateError, match="cannot hold"):
        unit_word(value)


def test_percent_signs_of_words_are_doubled() -> None:
    assert unit_word("100%") == "100%%"


@pytest.mark.parametrize("value", ["a;b", "a}", "$host", "a b", ""])
def test_syntax_of_nginx_is_refused(value: str) -> None:
    with pytest.raises(TemplateError, match="nginx cannot hold"):
        quote_nginx(value)


def test_unfiltered_expressions_are_refused(tmp_path, monkeypatch) -> None:
    from vllm_operator.targets import files

    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "x.j2").write_text("{{ name }}")
    monkeypatch.setattr(files, "template_folder", lambda: tmp_path)
    files._environment.cache_clear()
    try:
        with pytest.raises(TemplateError, match="has no filter"):
            text_file("x", {"name": "a"})
        with pytest.raises(TemplateError, match="targets/y"):
            text_file("y", {})
    finally:
        files._environment.cache_clear()


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\n")))
def test_a_comment_of_a_script_runs_nothing(text: str) -> None:
    values = {
        "pool": text or "x", "cluster": "c", "location": "l", "accelerator": "", "comment": [f"# {text}"],
        "plan": {"machine": "m", "spot": None, "disk_type": "d", "disk_gib": 1, "min_nodes": 1, "max_nodes": 2},
    }  # fmt: skip
    script = text_file("gke/create-node-pool.sh", values)
    words = shlex.split(script.partition("gcloud ")[2].replace("\\\n", " "), comments=False)
    assert words[3] == (text or "x")


def test_scripts_are_valid_for_the_shell() -> None:
    values = {"comment": ["# a"], "region": "us-east-1", "token": True, "scaling": True, "endpoint": "it's"}
    script = text_file("sagemaker/create-endpoint.sh", values)
    done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
