from __future__ import annotations

import re
from html.parser import HTMLParser

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark.page import html


def test_the_page_needs_no_network_and_no_script() -> None:
    text = html(report())
    HTMLParser().feed(text)
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', text) == []
    assert text.count("<svg") == 3
    assert "concurrent=4" in text


def test_values_of_a_server_are_no_markup() -> None:
    text = html(report(model="<img src=x onerror=alert(1)>"))
    assert "<img" not in text
    assert "ServerOverloaded: &lt;full&gt;" in text
