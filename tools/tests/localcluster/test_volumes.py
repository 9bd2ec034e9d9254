"""The volume provisioner acts on the claims and volumes that are its own, and at the right time."""

from pathlib import Path
from typing import Any

import pytest

from tools.localcluster import volumes

SELECTED = {
    "volume.kubernetes.io/storage-provisioner": volumes.PROVISIONER,
    "volume.kubernetes.io/selected-node": "node1",
}


def claim(annotations: dict[str, str], **spec: object) -> dict[str, Any]:
    return {
        "metadata": {"name": "cache", "namespace": "ml", "uid": "u1", "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


@pytest.mark.parametrize(
    ("candidate", "wanted"),
    [
        (claim(SELECTED), True),
        (claim({"volume.kubernetes.io/storage-provisioner": volumes.PROVISIONER}), False),
        (claim({**SELECTED, "volume.kubernetes.io/storage-provisioner": "another"}), False),
        (claim(SELECTED, volumeName="pvc-u1"), False),
    ],
)
def test_claim_gets_a_volume_once_a_pod_uses_it(candidate: dict[str, Any], wanted: bool) -> None:
    assert volumes.wants_volume(candidate) is wanted


def test_volume_is_bound_to_its_claim_and_usable_from_every_node() -> None:
    volume = volumes.volume_for(claim(SELECTED, storageClassName="standard"), Path("/state"))
    spec = volume["spec"]
    assert (spec["claimRef"]["uid"], spec["local"]["path"]) == ("u1", "/state/pvc-u1")
    assert spec["accessModes"] == ["ReadWriteMany"]
    [term] = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["operator"] == "Exists"


@pytest.mark.parametrize(("phase", "released"), [("Bound", False), ("Released", True), ("Failed", True)])
def test_volume_is_reclaimed_after_its_claim_is_gone(phase: str, released: bool) -> None:
    volume = volumes.volume_for(claim(SELECTED), Path("/state"))
    assert volumes.is_released({**volume, "status": {"phase": phase}}) is released
