"""Secrets that a manifest refers to."""

from __future__ import annotations

import base64

from tests.unit.controller.reconciler.scene import TOKEN, Scene
from vllm_operator.controller.reconciler import MISSING_AGAIN_SECONDS, REFERENCES_AGAIN_SECONDS
from vllm_operator.controller.requeue import Requeue


async def test_missing_secret_is_told_and_looked_for_again_soon() -> None:
    scene = Scene(**TOKEN)

    assert await scene.passes() == Requeue.after(MISSING_AGAIN_SECONDS)
    assert scene.applied == []
    assert scene.condition("Accepted") == ("False", "SecretNotFound")


async def test_secrets_that_are_there_are_looked_at_now_and_then() -> None:
    scene = Scene(**TOKEN)
    scene.api.hold({"kind": "Secret", "metadata": {"name": "hf"}, "data": {"token": base64.b64encode(b"x").decode()}})

    assert await scene.passes(2) == Requeue.after(REFERENCES_AGAIN_SECONDS)
    assert scene.applied == ["Deployment", "Service"]


async def test_events_tell_what_changed_once() -> None:
    scene = Scene(**TOKEN)
    await scene.passes(3)

    assert [sent["reason"] for sent in scene.api.sent if sent.get("kind") == "Event"] == ["SecretNotFound"]
