from __future__ import annotations

import pytest
import yaml

from tests.golden.documents import MANIFESTS
from tests.helpers.check_subjects import subject
from vllm_operator.cli.checks import ITEMS, checked
from vllm_operator.cli.manifests import subjects_of_file


def test_each_item_of_the_guide_has_a_result() -> None:
    """24 items: 5 about the server, 5 about clients, 5 about availability, 5 about monitoring, 4 about security."""
    assert len(ITEMS) == len({item.identity for item in ITEMS}) == 24
    assert [item.identity for item in checked(subject())] == [item.identity for item in ITEMS]


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_golden_manifests_are_judged_with_evidence_and_remedy(path: object) -> None:
    [(_, found)] = subjects_of_file(yaml.safe_dump(yaml.safe_load(path.read_text())), None)  # type: ignore[attr-defined]
    for item in checked(found):
        assert item.result.evidence
        assert bool(item.result.remedy) == (item.result.level in {"warn", "fail", "unknown"})


def test_argument_that_cannot_be_read_fails_its_item() -> None:
    odd = subject({"engine": {"tensorParallelSize": 1}})
    odd.spec.engine.extra_args.append("--data-parallel-size=x")
    results = {item.identity: item.result for item in checked(odd)}
    assert results["parallelism"].level == "fail"
    assert "--data-parallel-size needs a whole number" in results["parallelism"].evidence
