from __future__ import annotations

from tests.helpers.check_subjects import subject
from vllm_operator.cli.checks.item import CheckedItem, passes


def test_flag_is_read_from_its_field_or_from_the_arguments() -> None:
    assert subject({"engine": {"maxModelLen": 5}}).flag("--max-model-len") == "5"
    assert subject({"engine": {"extraArgs": ["--max-model-len=5"]}}).flag("--max-model-len") == "5"
    assert subject({"engine": {"enforceEager": True}}).flag("--enforce-eager") == ""
    assert subject({"engine": {"enforceEager": False}}).flag("--enforce-eager") is None
    assert subject().flag("--enforce-eager") is None


def test_negated_switch_is_seen() -> None:
    assert subject({"engine": {"enableChunkedPrefill": False}}).is_negated("--enable-chunked-prefill")
    assert not subject().is_negated("--enable-chunked-prefill")


def test_subject_knows_whether_it_is_live_and_public() -> None:
    assert not subject().is_live
    assert subject({}, status={}).is_live
    assert subject({"service": {"type": "NodePort"}}).is_public


def test_item_is_printed_with_its_result() -> None:
    data = CheckedItem("a", "S", "T", passes("e")).as_data()
    assert data == {"id": "a", "section": "S", "title": "T", "level": "pass", "evidence": "e", "remedy": ""}
