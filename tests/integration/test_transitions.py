"""Random transitions over the whole schema, each followed by its reverse; `make faults` makes many more."""

from __future__ import annotations

from tests.helpers.random_specs.specs import fields, schema_at
from tests.integration.governed import LOOKS, NO_CHILD
from tests.integration.transitions import Run
from tools.harness.audit import AuditLog
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess


async def test_every_change_is_applied_or_refused_and_its_reverse_leaves_no_trace(
    kube: Kube, audit: AuditLog, operator: OperatorProcess, namespace: str
) -> None:
    await Run(kube.kubeconfig, audit, namespace, transitions=60, seed=1, players=20).check()


def test_every_field_changes_a_child_or_is_listed_with_a_reason() -> None:
    leaves = {path for path in fields() if "[]" not in path and "properties" not in schema_at(path)}
    assert leaves <= {*LOOKS, *NO_CHILD}
    assert set(NO_CHILD) <= leaves
