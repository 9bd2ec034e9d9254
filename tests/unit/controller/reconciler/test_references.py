"""Secrets that a spec refers to."""

from __future__ import annotations

import base64

from tests.unit.controller.reconciler.scene import TOKEN, Scene
from vllm_operator.controller.recheck_delay import MISSING_REFERENCE_SECONDS, REFERENCES_SECONDS
from vllm_operator.controller.requeue import Requeue


async def test_missing_secret_sets_accepted_false_and_is_read_again_soon() -> None:
    scene = Scene(**TOKEN)

    assert await scene.reconcile() == Requeue.after(MISSING_REFERENCE_SECONDS)
    assert scene.applied == []
    assert scene.condition("Accepted") == ("False", "SecretNotFound")


async def test_existing_secrets_are_read_again_from_time_to_time() -> None:
    scene = Scene(**TOKEN)
    scene.api.hold({"kind": "Secret", "metadata": {"name": "hf"}, "data": {"token": base64.b64encode(b"x").decode()}})

    assert await scene.reconcile(2) == Requeue.after(REFERENCES_SECONDS)
    assert scene.applied == ["Deployment", "Service"]


async def test_each_change_is_recorded_as_one_event() -> None:
    scene = Scene(**TOKEN)
    await scene.reconcile(3)

    assert [sent["reason"] for sent in scene.api.sent if sent.get("kind") == "Event"] == ["SecretNotFound"]
