"""The production checklist of a server, item by item: a result, its evidence, and the remedy."""

from __future__ import annotations

from vllm_operator.cli.checks import availability, clients, engine, monitoring, security
from vllm_operator.cli.checks.item import CheckedItem, CheckItem, CheckResult, CheckSubject
from vllm_operator.errors import InvalidSpecError

ITEMS: tuple[CheckItem, ...] = (
    *engine.ITEMS,
    *availability.ITEMS,
    *monitoring.ITEMS,
    *security.ITEMS,
    *clients.ITEMS,
)


def checked(subject: CheckSubject) -> list[CheckedItem]:
    """Return the result of each item, in the order of the checklist."""
    return [CheckedItem(item.identity, item.section, item.title, _judged(item, subject)) for item in ITEMS]


def _judged(item: CheckItem, subject: CheckSubject) -> CheckResult:
    try:
        return item.judge(subject)
    except InvalidSpecError as error:
        return CheckResult("fail", error.message, "correct the field")
