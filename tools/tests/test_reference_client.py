from __future__ import annotations

import re

from tools.reference_client import client_page
from vllm_operator import client


def test_each_exported_name_has_an_entry() -> None:
    entries = re.findall(r"^### (\w+)$", client_page(), re.MULTILINE)

    assert sorted(entries) == sorted(client.__all__)


def test_fields_come_with_type_default_and_meaning() -> None:
    row = "| `connect` | `Seconds` | `5.0` | Seconds to open a connection, TLS included. |"

    assert row in client_page()


def test_methods_come_with_signature_and_summary() -> None:
    line = "- `async version(**options: Unpack[CallOptions]) -> str`: Return the version of vLLM."

    assert line in client_page()


def test_attributes_of_a_docstring_are_fields() -> None:
    assert "| `retry_after` |  |  | seconds after which the server asks to try again" in client_page()
