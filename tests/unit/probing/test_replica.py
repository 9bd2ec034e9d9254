"""Each part of a probed replica has one writer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import vllm_operator
from vllm_operator.probing.replica import ProbedReplica
from vllm_operator.probing.results import ProbeResult
from vllm_operator.probing.scheduler import ScheduleSlot
from vllm_operator.probing.service_quality import ServiceRecord
from vllm_operator.probing.stall_detector import StallRecord

PACKAGE = Path(vllm_operator.__file__).parent
WRITERS = {
    **dict.fromkeys((field.name for field in fields(ScheduleSlot)), "probing/scheduler.py"),
    **dict.fromkeys((field.name for field in fields(ProbeResult)), "probing/results.py"),
    **dict.fromkeys((field.name for field in fields(StallRecord)), "probing/stall_detector.py"),
    **dict.fromkeys((field.name for field in fields(ServiceRecord)), "probing/service_quality.py"),
    "target": "probing/manager.py",
}
"""Attribute of a part -> the module that may assign to it."""
PARTS = {"slot", "result", "stall", "service"}


def assigned_attributes(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield the attributes that a module assigns to or deletes, other than those of `self`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):
            continue
        if not isinstance(node.value, ast.Name) or node.value.id != "self":
            yield node


def writes() -> set[tuple[str, str]]:
    """Return (attribute, module) for every such assignment in the package that probes."""
    found = set()
    for path in (PACKAGE / "probing").glob("*.py"):
        for attribute in assigned_attributes(ast.parse(path.read_text())):
            found.add((attribute.attr, path.relative_to(PACKAGE).as_posix()))
    return found


def test_parts_share_no_attribute() -> None:
    names = [field.name for part in (ScheduleSlot, ProbeResult, StallRecord, ServiceRecord) for field in fields(part)]

    assert len(names) == len(set(names))


def test_each_part_has_one_writer() -> None:
    assert {(name, module) for name, module in writes() if WRITERS.get(name, module) != module} == set()


def test_every_attribute_has_a_writer_and_nothing_else_is_written() -> None:
    assert {name for name, _ in writes()} == set(WRITERS)


def test_parts_are_never_replaced() -> None:
    assert {field.name for field in fields(ProbedReplica)} == {"target", *PARTS}
    assert {name for name, _ in writes()} & PARTS == set()


def test_nothing_outside_the_package_knows_a_replica() -> None:
    """So no other package can write to one."""
    users = {
        path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if "ProbedReplica" in path.read_text()
    }

    assert users == {"probing"}
