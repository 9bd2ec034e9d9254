"""Names of children and labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.api.names import LABEL_LENGTH, child_name, kebab_case, recommended_labels, selector_labels, shorten

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,126}[a-z0-9])?", fullmatch=True)
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@given(NAMES)
def test_child_names_are_dns_labels(name: str) -> None:
    assert DNS_LABEL.fullmatch(child_name(name))
    assert DNS_LABEL.fullmatch(child_name(name, "cache"))


@given(NAMES.filter(lambda name: len(name) <= LABEL_LENGTH))
def test_names_that_fit_stay(name: str) -> None:
    assert child_name(name) == name


@given(st.sets(NAMES, min_size=2, max_size=20))
def test_different_servers_have_different_children(names: set[str]) -> None:
    assert len({child_name(name) for name in names}) == len(names)


def test_long_names_that_differ_at_their_end_stay_apart() -> None:
    one, other = "a" * 100 + "1", "a" * 100 + "2"

    assert child_name(one) != child_name(other)


def test_shortening_is_the_same_in_every_process() -> None:
    assert shorten("m" * 70) == "m" * 54 + "-d053228c"


@given(st.integers(1, 40))
def test_dash_at_the_cut_is_not_doubled(dashes: int) -> None:
    name = "a" * (55 - dashes) + "-" * dashes + "b" * 20

    assert "--" not in shorten(name)


@given(NAMES)
def test_selector_labels_are_among_the_labels_of_every_child(name: str) -> None:
    assert selector_labels(name).items() <= recommended_labels(name).items()


@pytest.mark.parametrize(
    ("camel", "kebab"), [("maxNumSeqs", "max-num-seqs"), ("dtype", "dtype"), ("kvCacheDtype", "kv-cache-dtype")]
)
def test_fields_spell_vllms_flags(camel: str, kebab: str) -> None:
    assert kebab_case(camel) == kebab
