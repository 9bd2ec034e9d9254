"""Check the workflows: pinned actions, no rights by default, and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
USES = re.compile(r"^\s*(?:- )?uses: *(\S+)(.*)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
VERSION = re.compile(r" # v\d+\.\d+\.\d+$")
MAKE = re.compile(r"\bmake ([a-z0-9-]+)")


def short(path: Path) -> str:
    """Return the file's name, as the id of a test."""
    return path.name


def used() -> list[tuple[str, str, str]]:
    """Return each `uses:` of another repository: file, action with digest, and the rest of the line."""
    return [
        (path.name, action, rest)
        for path in WORKFLOWS
        for action, rest in USES.findall(path.read_text())
        if not action.startswith("./")
    ]


def jobs(path: Path) -> dict[str, Any]:
    """Return the jobs of a workflow."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def test_there_are_the_known_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "nightly", "release", "vllm-release"]


def test_every_action_is_pinned_by_digest_with_its_version() -> None:
    loose = [entry for entry in used() if not (PINNED.fullmatch(entry[1]) and VERSION.search(entry[2]))]

    assert len(used()) > 20
    assert loose == []


def test_an_action_has_one_digest_and_one_version_everywhere() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for _, action, rest in used():
        name, _, digest = action.partition("@")
        pins.setdefault(name, set()).add((digest, rest))

    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_a_workflow_has_no_rights_and_each_job_names_its_own(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())

    assert workflow["permissions"] == {}
    assert [name for name, job in jobs(path).items() if not job.get("permissions")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_jobs_end_in_time_and_keep_no_credentials(path: Path) -> None:
    for name, job in jobs(path).items():
        if "uses" in job:
            continue
        assert job.get("timeout-minutes"), name
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=short)
def test_make_targets_of_a_workflow_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    runs = [step.get("run", "") for job in jobs(path).values() for step in job.get("steps", [])]
    named = {target for run in runs for target in MAKE.findall(run)}
    for job in jobs(path).values():
        named |= set(job.get("strategy", {}).get("matrix", {}).get("suite", []))

    assert named <= targets


def test_ci_covers_each_supported_python() -> None:
    versions = jobs(FOLDER / "ci.yml")["unit"]["strategy"]["matrix"]["python"]
    pyproject = (REPOSITORY / "pyproject.toml").read_text()

    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert f'requires-python = ">={versions[0]}"' in pyproject


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=short)
def test_issue_forms_have_what_github_requires(path: Path) -> None:
    form = yaml.safe_load(path.read_text())

    assert {"name", "description", "body"} <= set(form)
    assert all(field["type"] in {"markdown", "textarea", "input"} for field in form["body"])
    identifiers = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(identifiers)) == len(identifiers) > 0
