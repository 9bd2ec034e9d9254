"""Test that the immutable fields of a claim stay as they are, and cost no write."""

from __future__ import annotations

from tests.unit.apply.scene import Json, Scene


def set_default_class(held: Json) -> None:
    """Set the default class of the cluster, as admission does for a new claim."""
    if held["kind"] == "PersistentVolumeClaim":
        held["spec"].setdefault("storageClassName", "standard")


async def test_claim_that_gets_the_default_class_is_written_once() -> None:
    scene = Scene(cache={"size": "1Gi"})
    scene.api.admission = set_default_class
    await scene.apply()
    scene.api.requests.clear()

    assert (await scene.apply()).written == ()
    assert scene.api.requests == []


async def test_claim_that_grows_keeps_its_class() -> None:
    scene = Scene(cache={"size": "1Gi"})
    scene.api.admission = set_default_class
    await scene.apply()
    scene.set_spec(cache={"size": "2Gi"})

    assert (await scene.apply()).written == ("PersistentVolumeClaim",)
    assert scene.api.sent[-1]["spec"]["storageClassName"] == "standard"


async def test_claim_whose_class_is_no_longer_asked_for_keeps_it() -> None:
    scene = Scene(cache={"size": "1Gi", "storageClassName": "fast"})
    await scene.apply()
    scene.set_spec(cache={"size": "1Gi"})
    await scene.apply()

    assert scene.api.sent[-1]["spec"]["storageClassName"] == "fast"


async def test_access_modes_of_a_claim_that_was_kept_are_no_drift() -> None:
    scene = Scene(cache={"size": "1Gi"})
    held = scene.hold("PersistentVolumeClaim", cached=False)
    held["spec"]["accessModes"] = ["ReadWriteOncePod"]
    scene.store.put("PersistentVolumeClaim", scene.api.hold(held))
    scene.api.requests.clear()

    assert "PersistentVolumeClaim" not in (await scene.apply()).written
