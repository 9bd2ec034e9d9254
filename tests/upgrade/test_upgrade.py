"""The upgrade from the last release to this source replaces no pod of an unchanged server."""

from __future__ import annotations

import copy
import difflib
from pathlib import Path
from typing import Any

import pytest

from tests.upgrade import snapshots
from tests.upgrade.snapshots import Snapshot, acknowledged_restart, load, pod_template, versions
from tools.block_yaml import in_block_style
from tools.release_snapshot import Json, rendered_children
from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.controller.former_template import former_state
from vllm_operator.desired.drain import has_drain
from vllm_operator.desired.rendering.manifests import TEMPLATES
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

LAST = versions()[-1]
SNAPSHOTS = list(load(LAST))
REPOSITORY = Path(__file__).parents[2]
CHANGELOG = (REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "changelog.d").glob("*.md")))
"""The changelog, and the fragments of its next section."""


NEW_KINDS = {"ScaledObject"}
"""Kinds that this source renders and the last release did not."""


def difference(before: Json | None, after: Json | None) -> str:
    """Return the lines that differ; empty if none does."""
    texts = [in_block_style([body] if body else []).splitlines() for body in (before, after)]
    return "\n".join(difflib.unified_diff(*texts, f"release {LAST}", "this source", n=2, lineterm=""))


def without_hash(body: Json | None) -> Json | None:
    result = copy.deepcopy(body)
    if result is not None:
        result["metadata"]["annotations"].pop(ANNOTATION_HASH)
    return result


def upgraded_children(one: Snapshot, **spec: Any) -> dict[str, Json]:
    """Return the children that this source applies over those of the release: kind -> body."""
    server = {**one.server, "spec": {**one.server["spec"], **spec}}
    desired = desired_state(server, MONITORING_KINDS)
    former = former_state(
        desired, one.children["Deployment"], lambda: desired_state(server, MONITORING_KINDS, drains=False)
    )
    return {manifest.kind: manifest.body for manifest in (former or desired).manifests}


def restarts(one: Snapshot) -> str:
    """Return how the pod template of an unchanged server differs now."""
    return difference(pod_template(one.children), pod_template(upgraded_children(one)))


@pytest.mark.parametrize("one", SNAPSHOTS, ids=lambda one: one.name)
def test_unchanged_server_keeps_its_pods(one: Snapshot) -> None:
    if not acknowledged_restart(LAST):
        assert not restarts(one), (
            f"the upgrade from {LAST} restarts the pods of {one.name}: undo it, or give the reason in "
            f"{snapshots.RESTARTS.name} and in changelog.d/\n{restarts(one)}"
        )


@pytest.mark.parametrize("one", SNAPSHOTS, ids=lambda one: one.name)
def test_selector_which_no_upgrade_can_change_is_the_same(one: Snapshot) -> None:
    assert (
        rendered_children(one.server)["Deployment"]["spec"]["selector"]
        == one.children["Deployment"]["spec"]["selector"]
    )


@pytest.mark.parametrize("one", SNAPSHOTS, ids=lambda one: one.name)
def test_no_child_is_lost_and_what_changes_in_the_others_is_listed(one: Snapshot) -> None:
    now = upgraded_children(one)
    for kind in TEMPLATES:
        if text := difference(without_hash(one.children.get(kind)), without_hash(now.get(kind))):
            print(f"{one.name}: {kind}\n{text}")
    assert set(one.children) <= set(now), "an upgrade would delete a child"


@pytest.mark.parametrize("one", SNAPSHOTS, ids=lambda one: one.name)
def test_change_of_the_pods_brings_the_middleware_and_a_change_of_their_number_does_not(one: Snapshot) -> None:
    live = pod_template(one.children)
    if has_drain(one.children["Deployment"]):
        pytest.skip("the release had the middleware already")

    scaled = upgraded_children(one, replicas=4)
    changed = upgraded_children(one, rollout={"drainTimeoutSeconds": 77})

    assert not difference(live, pod_template(scaled))
    assert has_drain(changed["Deployment"])


def test_restart_on_purpose_is_needed_and_stands_in_the_changelog() -> None:
    reason = acknowledged_restart(LAST)
    if reason:
        assert any(f"Restarts pods: {reason}" in path.read_text() for path in CHANGELOG)
        assert any(restarts(one) for one in SNAPSHOTS), f"remove {LAST} from {snapshots.RESTARTS.name}"


def test_snapshot_shows_every_template_that_the_release_had() -> None:
    assert {kind for one in SNAPSHOTS for kind in one.children} == set(TEMPLATES) - NEW_KINDS


def test_changed_template_is_noticed() -> None:
    """One more variable in a pod counts as a restart."""
    one = SNAPSHOTS[0]
    changed = copy.deepcopy(one.children)
    pod_template(changed)["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})

    assert "NEW" in restarts(Snapshot(one.name, one.server, changed))
