from __future__ import annotations

from itertools import islice

from tools.hostile.numbers import percentile
from tools.hostile.tenant import addresses


def test_percentile_of_nothing_is_none() -> None:
    assert percentile([], 0.5) is None


def test_percentiles_of_unordered_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([3.0], 0.99) == 3.0


def test_each_pod_has_an_address_of_its_network() -> None:
    found = list(islice(addresses(67), 600))

    assert len(set(found)) == 600
    assert found[0] == "127.67.0.1"
    assert found[250] == "127.67.1.1"
