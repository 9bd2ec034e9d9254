"""Every query of the dashboards returns data from the recorded runs that scraped what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.go_tools import go_tool
from tools.dashboards.check import results
from tools.dashboards.recording import FOLDER, read_run, replayed

RECORDINGS = sorted(FOLDER.glob("*.om.xz"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: str(path.name))
def test_every_query_returns_data(path: Path) -> None:
    go_tool("prometheus")
    go_tool("promtool")
    with replayed(path) as found:
        answers = results(found, read_run(path))

    assert len(answers) > 20
    assert [f"{one.query.panel.title}: {one.query.expr}" for one in answers if not one.series] == []
