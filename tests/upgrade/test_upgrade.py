"""The upgrade from the last release to this source replaces no pod of an unchanged server."""

from __future__ import annotations

import copy
import difflib
from pathlib import Path

import pytest

from tests.upgrade import snapshots
from tests.upgrade.snapshots import Snapshot, acknowledged_restart, load, pod_template, versions
from tools.block_yaml import in_block_style
from tools.release_snapshot import Json, rendered_children
from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.desired.rendering.manifests import TEMPLATES

LAST = versions()[-1]
SNAPSHOTS = list(load(LAST))
REPOSITORY = Path(__file__).parents[2]
CHANGELOG = (REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "changelog.d").glob("*.md")))
"""The changelog, and the fragments of its next section."""


def difference(before: Json | None, after: Json | None) -> str:
    """Return the lines that differ; empty if none does."""
    texts = [in_block_style([body] if body else []).splitlines() for body in (before, after)]
    return "\n".join(difflib.unified_diff(*texts, f"release {LAST}", "this source", n=2, lineterm=""))


def without_hash(body: Json | None) -> Json | None:
    result = copy.deepcopy(body)
    if result is not None:
        result["metadata"]["annotations"].pop(ANNOTATION_HASH)
    return result


def restarts(one: Snapshot) -> str:
    """Return how the pod template of an unchanged server differs now."""
    return difference(pod_template(one.children), pod_template(rendered_children(one.server)))


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
    now = rendered_children(one.server)
    for kind in TEMPLATES:
        if text := difference(without_hash(one.children.get(kind)), without_hash(now.get(kind))):
            print(f"{one.name}: {kind}\n{text}")
    assert set(one.children) <= set(now), "an upgrade would delete a child"


def test_restart_on_purpose_is_needed_and_stands_in_the_changelog() -> None:
    reason = acknowledged_restart(LAST)
    if reason:
        assert any(f"Restarts pods: {reason}" in path.read_text() for path in CHANGELOG)
        assert any(restarts(one) for one in SNAPSHOTS), f"remove {LAST} from {snapshots.RESTARTS.name}"


def test_snapshot_shows_every_template() -> None:
    assert {kind for one in SNAPSHOTS for kind in one.children} == set(TEMPLATES)


def test_changed_template_is_noticed() -> None:
    """One more variable in a pod counts as a restart."""
    one = SNAPSHOTS[0]
    changed = copy.deepcopy(one.children)
    pod_template(changed)["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})

    assert "NEW" in restarts(Snapshot(one.name, one.server, changed))
