"""The controller of adaptive concurrency against engines whose throughput is a known function of the load."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from vllm_operator.client.batch.adaptive import (
    HOLD_WINDOWS,
    AdaptiveConcurrency,
    ConcurrencyController,
    LoadWindow,
)


@dataclass
class FakeEngine:
    """An engine that computes up to `capacity` requests at once, each taking one second, and queues the others."""

    capacity: int
    noise: float = 0.0
    reports_queue: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def run(self, limit: int) -> LoadWindow:
        """Return the figures of one window with `limit` requests in flight."""
        throughput = min(limit, self.capacity) * (1 + self.noise * self.random.uniform(-1, 1))
        waiting = float(max(0, limit - self.capacity)) if self.reports_queue else None
        return LoadWindow(seconds=1.0, throughput=throughput, unit="requests/s", waiting=waiting)


def run(controller: ConcurrencyController, engine: FakeEngine, windows: int) -> list[int]:
    """Return the limits that a controller chose."""
    return [controller.observe(engine.run(controller.limit)).limit for _ in range(windows)]


@pytest.mark.parametrize("reports_queue", [True, False])
@pytest.mark.parametrize("capacity", [1, 5, 48, 256, 900])
def test_limit_reaches_capacity_and_stays_near_it(capacity: int, reports_queue: bool) -> None:
    controller = ConcurrencyController(AdaptiveConcurrency())

    limits = run(controller, FakeEngine(capacity, reports_queue=reports_queue), 200)

    throughput = [min(limit, capacity) for limit in limits[100:]]
    assert sum(throughput) / len(throughput) >= 0.85 * capacity
    if capacity >= 8 and reports_queue:
        assert max(limits[100:]) <= 1.5 * capacity


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_five_percent_does_not_hide_the_capacity(seed: int) -> None:
    controller = ConcurrencyController(AdaptiveConcurrency())

    limits = run(controller, FakeEngine(200, noise=0.05, seed=seed, reports_queue=False), 300)

    assert 0.7 * 200 <= sum(limits[150:]) / 150 <= 3 * 200


def test_limit_doubles_while_throughput_rises() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=8, maximum=1024))

    assert run(controller, FakeEngine(5000), 7) == [16, 32, 64, 128, 256, 512, 1024]


def test_maximum_and_minimum_are_kept() -> None:
    high = ConcurrencyController(AdaptiveConcurrency(start=2, minimum=2, maximum=30))
    assert max(run(high, FakeEngine(5000), 300)) == 30

    low = ConcurrencyController(AdaptiveConcurrency(start=8, minimum=4, maximum=30))
    refused = LoadWindow(seconds=1, throughput=1, unit="requests/s", refused=3)
    assert [low.observe(refused).limit for _ in range(4)] == [4, 4, 4, 4]


def test_refused_requests_halve_the_limit_and_it_is_held() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=64))

    decision = controller.observe(LoadWindow(seconds=1, throughput=50, unit="requests/s", refused=7))

    assert decision.limit == 32
    assert "7 requests were refused" in decision.reason
    assert set(run(controller, FakeEngine(5000), HOLD_WINDOWS - 1)) == {32}
    assert run(controller, FakeEngine(5000), 3)[-1] > 32


def test_growing_queue_lowers_the_limit_by_what_waits() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=100))
    queued = LoadWindow(seconds=1, throughput=60, unit="requests/s", waiting=40)

    assert controller.observe(queued).limit >= 100
    decision = controller.observe(queued)

    assert 50 <= decision.limit < 100
    assert "40 requests wait" in decision.reason


def test_queue_of_other_clients_halves_the_limit_at_most() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=100))
    queued = LoadWindow(seconds=1, throughput=60, unit="requests/s", waiting=5000)

    limits = [controller.observe(queued).limit for _ in range(2)]

    assert limits[-1] >= 50


def test_window_without_enough_requests_changes_nothing() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=8))
    idle = LoadWindow(seconds=1, throughput=1, unit="requests/s", is_full=False)

    assert {controller.observe(idle).limit for _ in range(50)} == {8}


def test_windows_in_which_nothing_ends_change_nothing() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=8))
    silent = LoadWindow(seconds=1, throughput=0, unit="requests/s")

    assert {controller.observe(silent).limit for _ in range(50)} == {8}


def test_figures_of_another_unit_are_not_compared() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency(start=8))
    controller.observe(LoadWindow(seconds=1, throughput=8, unit="requests/s"))

    limit = controller.observe(LoadWindow(seconds=1, throughput=800, unit="tokens/s")).limit
    next_limit = controller.observe(LoadWindow(seconds=1, throughput=500, unit="tokens/s")).limit

    assert (limit, next_limit) == (32, 32)


def test_more_capacity_is_found_later() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency())
    run(controller, FakeEngine(32), 100)

    limits = run(controller, FakeEngine(256), 400)

    assert limits[-1] >= 0.7 * 256


def test_less_capacity_lowers_the_limit_by_the_queue() -> None:
    controller = ConcurrencyController(AdaptiveConcurrency())
    run(controller, FakeEngine(256), 100)

    limits = run(controller, FakeEngine(32), 60)

    assert limits[-1] <= 48


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"minimum": 0}, "minimum"),
        ({"start": 0}, "start"),
        ({"start": 50, "maximum": 20}, "start"),
        ({"window": 0.0}, "window"),
        ({"window": float("nan")}, "window"),
        ({"window": float("inf")}, "window"),
    ],
)
def test_settings_that_make_no_sense_name_the_field(settings: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        AdaptiveConcurrency(**settings)  # type: ignore[arg-type]
