"""Label selectors, as `kubectl get -l` and the HorizontalPodAutoscaler write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.kube.label_selector import InvalidSelectorError, parse_selector

LABELS = {"app": "vllm", "tier": "gold", "size": "7"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=vllm", True),
        ("app==vllm,tier=gold", True),
        ("app!=vllm", False),
        ("missing!=x", True),
        ("tier in (silver, gold)", True),
        ("tier notin (silver,gold)", False),
        ("missing notin (a)", True),
        ("missing in (a,)", False),
        ("tier", True),
        ("!tier", False),
        ("! missing , app = vllm", True),
        ("size>6", True),
        ("size<6", False),
        ("app>6", False),
        ("missing>1", False),
        ("missing=", False),
    ],
)
def test_selector(text: str, matches: bool) -> None:
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["a b", "a in b", "a in (b", ",", "a=b=c", "=x", "a,,b", "x" * 9000])
def test_text_that_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(InvalidSelectorError):
        parse_selector(text)


def test_single_value_of_a_label_is_known() -> None:
    selector = parse_selector("app.kubernetes.io/instance=mistral,tier in (a,b)")

    assert selector.only_value("app.kubernetes.io/instance") == "mistral"
    assert selector.only_value("tier") is None
    assert selector.only_value("other") is None


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(InvalidSelectorError):
        assert parse_selector(text).matches(LABELS) in {True, False}
