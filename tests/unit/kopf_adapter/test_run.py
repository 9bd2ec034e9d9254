"""How many connections the operator may hold."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from vllm_operator.kopf_adapter.run import raise_file_limit


@pytest.fixture
def _soft_limit_of_a_container() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_soft_limit_of_a_container")
def test_operator_takes_all_the_files_that_it_may_open():
    raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
