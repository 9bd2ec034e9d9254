from __future__ import annotations

import subprocess
import sys

import pytest

from vllm_operator import client


@pytest.mark.parametrize("name", client.__all__)
def test_each_exported_name_exists(name: str) -> None:
    assert getattr(client, name).__name__ == name
    assert name in dir(client)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        client.Nothing  # noqa: B018


def test_import_loads_no_library_and_nothing_of_the_operator() -> None:
    code = (
        "import sys, vllm_operator.client; "
        "print([m for m in sys.modules if m in ('aiohttp', 'pydantic', 'httpx2', 'openai', 'kopf') "
        "or m.startswith('vllm_operator.') and not m.startswith('vllm_operator.client')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
