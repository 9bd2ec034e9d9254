"""`render` judges a manifest without a cluster as the API server and the operator judge it with one."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from tests.fuzz.pipeline import body, desired
from tests.helpers.raw_api import RawApi
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from vllm_operator.kube.kinds import SERVER
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import read_documents

MANIFESTS = int(os.environ.get("RENDER_MANIFESTS", "400"))
SEED = int(os.environ.get("RENDER_SEED", "12"))
CREATE = f"{SERVER.path('default')}?dryRun=All&fieldValidation=Strict"


def offline(sent: dict[str, Any]) -> str:
    """Return why `render` refuses a manifest; empty if it accepts it."""
    (document,) = read_documents(json.dumps(sent))
    return "; ".join(problem.message for problem in judge(document).problems)


async def online(api: RawApi, sent: dict[str, Any]) -> str:
    """Return why the API server refuses a manifest, or else the operator; empty if both accept it."""
    reply = await api.call("POST", CREATE, sent)
    if not reply.ok:
        return reply.message
    stored = {**reply.body, "metadata": {**reply.body["metadata"], "generation": 1}}
    return "; ".join(problem.message for problem in desired(stored).problems)


async def compared(plane: Plane) -> list[str]:
    async with RawApi(plane.kubeconfig, limit=8) as api:
        return [text for number in range(MANIFESTS) if (text := await _difference(api, number))]


async def _difference(api: RawApi, number: int) -> str:
    sent = body(SEED, number)
    sent["metadata"] = {"name": sent["metadata"]["name"]}
    here, there = offline(sent), await online(api, sent)
    return (
        "" if bool(here) == bool(there) else f"{number}: render: {here or 'accepted'}; cluster: {there or 'accepted'}"
    )


def test_verdicts_equal_those_of_api_server_and_operator(plane: Plane, kube: Kube) -> None:
    assert asyncio.run(compared(plane)) == []
