"""Test how long admission changes explain the difference between a child and its manifest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.fakes import FakeClock, merged
from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS, AdmissionMemory

Json = dict[str, Any]
MANIFEST: Json = {"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}}
STORED: Json = {"metadata": {"uid": "u1", "labels": {"a": "b", "c": "d"}}, "spec": {"replicas": 3}}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def memory(clock: FakeClock) -> AdmissionMemory:
    made = AdmissionMemory(clock)
    made.record("hash", MANIFEST, STORED, differs=True)
    return made


def test_changed_object_is_explained(memory: AdmissionMemory) -> None:
    assert memory.changed_fields("u1") == ("spec.replicas",)
    assert memory.explains("hash", MANIFEST, STORED)


def test_label_that_the_manifest_lacks_does_not_count(memory: AdmissionMemory) -> None:
    assert memory.explains("hash", MANIFEST, merged(STORED, {"metadata": {"labels": {"c": None}}}))


@pytest.mark.parametrize(
    "edit", [{"spec": {"replicas": 4}}, {"metadata": {"labels": {"a": "x"}}}, {"metadata": {"uid": "u2"}}]
)
def test_further_edit_is_not_explained(memory: AdmissionMemory, edit: Json) -> None:
    assert not memory.explains("hash", MANIFEST, merged(STORED, edit))


def test_other_manifest_is_not_explained(memory: AdmissionMemory) -> None:
    assert not memory.explains("new", MANIFEST, STORED)


def test_change_is_rechecked_after_a_while(memory: AdmissionMemory, clock: FakeClock) -> None:
    clock.now += ADMISSION_RECHECK_SECONDS - 1
    assert not memory.needs_recheck("u1")
    clock.now += 1
    assert memory.needs_recheck("u1")
    assert not memory.explains("hash", MANIFEST, STORED)


def test_filled_in_default_is_never_rechecked(clock: FakeClock) -> None:
    memory = AdmissionMemory(clock)
    manifest, stored = {"metadata": {}, "spec": {"a": ""}}, {"metadata": {"uid": "u1"}, "spec": {"a": "default"}}
    memory.record("hash", manifest, stored, differs=True)
    clock.now += ADMISSION_RECHECK_SECONDS

    assert not memory.needs_recheck("u1")
    assert memory.explains("hash", manifest, stored)


def test_object_that_matches_its_manifest_is_forgotten(memory: AdmissionMemory) -> None:
    memory.record("hash", MANIFEST, STORED, differs=False)

    assert memory.changed_fields("u1") == ()
    assert not memory.needs_recheck("u1")


def test_object_that_another_one_replaced_is_forgotten() -> None:
    memory = AdmissionMemory(FakeClock())
    manifest = {"kind": "Service", "metadata": {"name": "mistral"}, "spec": {"a": 1}}
    for number in range(100):
        response = {"kind": "Service", "metadata": {"name": "mistral", "uid": f"u{number}"}, "spec": {"a": 2}}
        memory.record("hash", manifest, response, differs=True)
    assert memory.changed_fields("u98") == ()
    assert memory.changed_fields("u99") == ("spec.a",)
    assert len(memory._changes) == 1
