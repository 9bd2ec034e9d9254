"""Windows of load from samples."""

from __future__ import annotations

from vllm_operator.client.batch.adaptive import LoadWindow
from vllm_operator.client.batch.meter import LoadMeter, LoadSample, WindowMeter, engine_throughput
from vllm_operator.client.engine_load import EngineLoad
from vllm_operator.client.errors import RateLimitExceeded, ServerFailed, ServerOverloaded
from vllm_operator.client.hooks import RequestInfo

URL = "http://a"


def sample(time: float, completed: int = 0, generated: float | None = None, **changes: object) -> LoadSample:
    """Return a sample; with `generated`, one with a reading of the engine."""
    loads = None if generated is None else {URL: EngineLoad(4, 1, generated, 7, 100)}
    fields: dict[str, object] = {"tokens": completed * 10, "refusals": 0, "is_full": True, "loads": loads, **changes}
    return LoadSample(time=time, completed=completed, **fields)  # type: ignore[arg-type]


def test_window_with_engine_counters_ends_after_its_seconds() -> None:
    meter = WindowMeter(1.0, 8)

    windows = [meter.add(sample(t / 4, 0, generated=t * 50)) for t in range(5)]

    assert windows[:4] == [None] * 4
    assert windows[4] == LoadWindow(1.0, 200.0, "tokens/s (engines)", waiting=1.0)


def test_window_with_own_figures_ends_when_all_requests_are_new() -> None:
    meter = WindowMeter(1.0, 8)

    windows = [meter.add(sample(float(t), 3 * t)) for t in range(4)]

    assert windows[:3] == [None] * 3
    assert windows[3] == LoadWindow(3.0, 30.0, "tokens/s", waiting=None)


def test_requests_are_the_unit_where_tokens_are_not_counted() -> None:
    meter = WindowMeter(1.0, 2)
    meter.add(sample(0.0))

    window = meter.add(sample(2.0, 4, tokens=0))

    assert window == LoadWindow(2.0, 2.0, "requests/s", waiting=None)


def test_refused_request_ends_the_window_at_once() -> None:
    meter = WindowMeter(10.0, 8)
    meter.add(sample(0.0))

    window = meter.add(sample(0.5, refusals=2))

    assert window is not None
    assert window.refused == 2


def test_limit_that_was_not_used_is_noted() -> None:
    meter = WindowMeter(1.0, 8)

    windows = [meter.add(sample(t / 4, t, is_full=t == 0)) for t in range(5)]

    assert windows[4] is not None
    assert not windows[4].is_full


def test_window_after_a_change_begins_when_half_of_the_requests_are_new() -> None:
    meter = WindowMeter(1.0, 4)
    meter.add(sample(0.0))
    assert meter.add(sample(2.0, 4)) is not None
    meter.restart(8)

    assert meter.add(sample(3.0, 5)) is None
    assert meter.add(sample(4.0, 8)) is None
    assert meter.add(sample(5.0, 12)) is None
    window = meter.add(sample(6.0, 16))

    assert window is not None
    assert (window.seconds, window.throughput) == (2.0, 40.0)


def test_window_without_a_change_goes_on_from_the_last_sample() -> None:
    meter = WindowMeter(1.0, 4)
    meter.add(sample(0.0))
    meter.add(sample(2.0, 4))
    meter.restart(4)

    window = meter.add(sample(4.0, 10))

    assert window is not None
    assert (window.seconds, window.throughput) == (2.0, 30.0)


def test_least_queue_of_all_samples_counts() -> None:
    meter = WindowMeter(1.0, 4)

    for time, waiting in ((0.0, 9), (0.5, 2), (1.0, 30)):
        window = meter.add(sample(time, loads={URL: EngineLoad(4, waiting, 10 * time, 0, 1)}))

    assert window is not None
    assert window.waiting == 2


def test_queue_is_unknown_when_one_reading_is_missing() -> None:
    meter = WindowMeter(1.0, 1)
    meter.add(sample(0.0, generated=0))
    meter.add(sample(0.5))

    window = meter.add(sample(1.0, 2, generated=20))

    assert window is not None
    assert window.waiting is None


def test_counters_of_another_process_are_not_compared() -> None:
    first, later = EngineLoad(1, 0, 100, 5, 1), EngineLoad(1, 0, 200, 5, 1)
    restarted, lower = EngineLoad(1, 0, 200, 5, 2), EngineLoad(1, 0, 50, 5, 1)

    def throughput(load: EngineLoad, url: str = URL) -> float | None:
        return engine_throughput(sample(0.0, loads={URL: first}), sample(2.0, loads={url: load}))

    assert throughput(later) == 50
    assert throughput(restarted) is None
    assert throughput(lower) is None
    assert throughput(later, "http://b") is None


def test_prompts_count_where_nothing_is_generated() -> None:
    first, later = EngineLoad(1, 0, 0, 100, 1), EngineLoad(1, 0, 0, 300, 1)

    assert engine_throughput(sample(0.0, loads={URL: first}), sample(2.0, loads={URL: later})) == 100


def test_meter_counts() -> None:
    meter = LoadMeter()
    meter.answered(7)
    meter.answered(5)
    meter.failed(ServerOverloaded("x"))
    meter.failed(ServerFailed("x"))
    meter.request_retried(RequestInfo("chat", "m", False, 0.0), RateLimitExceeded("x"), 1, 0.5)

    assert (meter.completed, meter.tokens, meter.refusals) == (2, 12, 2)
