"""A manifest, or a child of it, that is refused."""

from __future__ import annotations

import pytest

from tests.unit.controller.reconciler.scene import Scene
from vllm_operator.controller.reconciler import REFUSED_AGAIN_SECONDS
from vllm_operator.controller.requeue import Requeue
from vllm_operator.errors import ApiError


async def test_refused_manifest_is_told_and_leaves_the_children() -> None:
    scene = Scene()
    await scene.passes(2)
    scene.api.requests.clear()
    scene.wants(2, engine={"extraArgs": ["--port=1"]})
    await scene.passes(2)

    assert scene.applied == []
    assert scene.condition("Accepted") == ("False", "InvalidArgument")
    assert ("Deployment", "mistral") in scene.api.objects


async def test_manifest_that_cannot_be_parsed_is_told() -> None:
    scene = Scene(engine={"maxModelLen": "many"})
    await scene.passes()

    assert scene.condition("Accepted") == ("False", "InvalidSpec")


async def test_refused_child_is_told_and_tried_again() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")

    assert await scene.passes() == Requeue.after(REFUSED_AGAIN_SECONDS)
    assert scene.condition("Accepted") == ("False", "ChildRefused")


async def test_what_may_pass_is_left_to_the_queue() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ApiError(503, "ServiceUnavailable", "later")

    with pytest.raises(ApiError, match="later"):
        await scene.passes()
