"""Test which fields of a live claim stay in its manifest, and which access modes are exclusive."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.kube.claims import access_modes, is_exclusive, storage_class, with_immutable_claim_fields
from vllm_operator.kube.codec import compress_json
from vllm_operator.kube.manifest import Manifest

SPEC = {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}
MANIFEST = Manifest("PersistentVolumeClaim", "a", "hash", compress_json({"spec": SPEC}))


@pytest.mark.parametrize("name", ["standard", ""], ids=["a class", "no class"])
def test_class_and_access_modes_of_the_live_claim_stay(name: str) -> None:
    live = {"spec": {"storageClassName": name, "accessModes": ["ReadWriteMany"], "resources": {}}}
    kept = with_immutable_claim_fields(MANIFEST, live)

    assert kept.hash == "hash"
    assert kept.body["spec"] == {**SPEC, "storageClassName": name, "accessModes": ["ReadWriteMany"]}


def test_claim_without_class_and_access_modes_changes_nothing() -> None:
    assert with_immutable_claim_fields(MANIFEST, {"spec": {}}).body == MANIFEST.body


@pytest.mark.parametrize("live", [None, {}, {"spec": {}}, {"spec": {"accessModes": None}}])
def test_fields_that_a_claim_lacks(live: dict[str, Any] | None) -> None:
    assert storage_class(live) is None
    assert access_modes(live) == ()


@pytest.mark.parametrize(
    ("modes", "exclusive"),
    [
        ([], False),
        (["ReadWriteOnce"], True),
        (["ReadWriteOncePod"], True),
        (["ReadOnlyMany"], False),
        (["ReadWriteOnce", "ReadWriteMany"], False),
    ],
)
def test_exclusive_access_modes(modes: list[str], exclusive: bool) -> None:
    assert is_exclusive(modes) is exclusive
