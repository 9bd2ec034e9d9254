"""Run the examples of the client library against a stand-in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import web

from tests.helpers.client_examples import EXAMPLES, FOLDER, PRINTED, run_example
from tests.helpers.fake_vllm_server import Json, status
from tests.unit.client.batch.fake_engine import FakeEngineServer


class FakeStrictServer(FakeEngineServer):
    """Refuses what vLLM 0.32 refuses: other models, and numbers of tokens that make no sense."""

    async def _usual(self, request: web.Request, body: Json) -> web.StreamResponse:
        if body.get("model", self.model) != self.model:
            message = f"The model `{body['model']}` does not exist."
            return await status(404, message, type="NotFoundError", param="model")(request)
        if body.get("max_tokens", 1) < 1:
            return await status(400, "max_tokens must be at least 1, got -1.", param="max_tokens")(request)
        if body.get("max_tokens", 1) > 1024:
            message = f"max_tokens={body['max_tokens']} cannot be greater than max_model_len=1024."
            return await status(400, message, param="max_tokens")(request)
        return await super()._usual(request, body)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_example_runs_and_prints_what_it_promises(path: Path) -> None:
    async with FakeStrictServer(capacity=16, seconds=0.01) as server:
        await run_example(path, server.url)


def test_each_example_has_its_expected_output_and_stands_in_the_readme() -> None:
    names = {path.name for path in EXAMPLES}
    table = re.findall(r"^\| \[(\w+\.py)\]\(\1\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)

    assert set(PRINTED) == names == set(table)
