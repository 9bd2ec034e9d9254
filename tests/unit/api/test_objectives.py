"""What the schema refuses in objectives, before a check sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.monitored_servers import server
from vllm_operator.api.crd import crd
from vllm_operator.errors import InvalidSpecError

GOOD = {"objective": 0.99, "thresholdSeconds": 1}


@pytest.mark.parametrize(
    ("slo", "field"),
    [
        ({"availability": {"objective": 99.9}}, "objective"),
        ({"availability": {"objective": 1}}, "objective"),
        ({"availability": {}}, "objective"),
        ({"availability": {"objective": 0.999, "thresholdSeconds": 1}}, "thresholdSeconds"),
        ({"latency": {"objective": 0.99}}, "thresholdSeconds"),
        ({"latency": {"objective": 0.99, "thresholdSeconds": 0}}, "thresholdSeconds"),
        ({"latency": GOOD, "windowDays": 1}, "windowDays"),
        ({"latency": GOOD, "minRequests": 0}, "minRequests"),
        ({"throughput": GOOD}, "throughput"),
    ],
)
def test_wrong_values_are_refused_by_their_field(slo: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpecError, match=field):
        server(monitoring={"slo": slo})


def test_crd_says_how_to_write_a_percentage_and_that_one_objective_is_needed() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    slo = schema["properties"]["monitoring"]["properties"]["slo"]
    objective = slo["properties"]["availability"]["properties"]["objective"]

    assert "write 0.999 for 99.9 %" in objective["x-kubernetes-validations"][0]["message"]
    assert slo["x-kubernetes-validations"][0]["message"].startswith("slo has no objective")
