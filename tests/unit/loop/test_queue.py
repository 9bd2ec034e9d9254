"""The keyed queue, on a clock that jumps from timer to timer."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from vllm_operator.control.queue import LONGEST_RETRY_SECONDS, MERGE_SECONDS, PATIENCE_SECONDS, KeyedQueue
from vllm_operator.errors import ApiError


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while something is ready, and else jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        waiting = [handle for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and waiting:  # type: ignore[attr-defined]
            self.now = max(self.now, heapq.nsmallest(1, waiting)[0].when())
        super()._run_once()  # type: ignore[misc]


Scenario = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Run a scenario on a jumping loop."""
    loop = JumpingLoop()
    yield loop.run_until_complete
    loop.close()


class FakeWork:
    """Passes that take `takes` seconds and end as `ends` says, the last entry for ever."""

    def __init__(self, *ends: float | Exception | None, takes: float = 1.0) -> None:
        self.ends = list(ends) or [None]
        self.takes = takes
        self.starts: list[tuple[float, str]] = []
        self.running: list[str] = []
        self.together = 0

    async def __call__(self, key: str) -> float | None:
        assert key not in self.running, "two passes of one key at a time"
        self.starts.append((asyncio.get_running_loop().time() - 1000, key))
        self.running.append(key)
        self.together = max(self.together, len(self.running))
        await asyncio.sleep(self.takes)
        self.running.remove(key)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end

    def times(self, key: str = "a") -> list[float]:
        return [time for time, of in self.starts if of == key]


async def worked(
    work: FakeWork, script: Callable[[KeyedQueue[str]], Coroutine[Any, Any, None]], workers: int = 8
) -> None:
    """Let the queue run while the script does, then end it."""
    queue = KeyedQueue(work, workers)
    task = asyncio.create_task(queue.run())
    await script(queue)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def after(seconds: float, *keys: str) -> Callable[[KeyedQueue[str]], Coroutine[Any, Any, None]]:
    """A script that adds the keys and waits."""

    async def script(queue: KeyedQueue[str]) -> None:
        for key in keys:
            queue.add(key)
        await asyncio.sleep(seconds)

    return script


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_a_key_is_passed_over_once(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, "a")))

    assert work.times() == [0]


def test_a_burst_is_one_pass(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, *["a"] * 50)))

    assert work.times() == [0]


def test_events_during_a_pass_are_one_more_pass_after_it(run: Run) -> None:
    work = FakeWork()

    async def script(queue: KeyedQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        for _ in range(20):
            queue.add("a")
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.times() == pytest.approx([0, 1 + MERGE_SECONDS])


def test_keys_are_worked_on_together_up_to_the_number_of_workers(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, *"abcdefg"), workers=3))

    assert work.together == 3
    assert sorted(key for _, key in work.starts) == list("abcdefg")


def test_keys_wait_in_the_order_in_which_they_came(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, *"cab"), workers=1))

    assert [key for _, key in work.starts] == ["c", "a", "b"]


def test_depth_is_what_waits_for_a_slot(run: Run) -> None:
    depths: list[int] = []

    async def script(queue: KeyedQueue[str]) -> None:
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(0.5)
        depths.append(queue.depth)
        await asyncio.sleep(10)
        depths.append(queue.depth)

    run(worked(FakeWork(), script, workers=1))

    assert depths == [2, 0]


def test_back_off_doubles_with_each_failure_and_is_capped(run: Run) -> None:
    work = FakeWork(ApiError(500, "InternalError", "no"), takes=0)
    run(worked(work, after(1000, "a")))
    pauses = [later - sooner for sooner, later in zip(work.times(), work.times()[1:], strict=False)]

    assert len(pauses) > 15
    for number, pause in enumerate(pauses):
        planned = min(0.5 * 2**number, LONGEST_RETRY_SECONDS)
        assert 0.8 * planned <= pause <= 1.2 * planned


def test_any_exception_is_backed_off(run: Run) -> None:
    work = FakeWork(ValueError("a defect"), None, takes=0)
    run(worked(work, after(100, "a")))

    assert len(work.times()) == 2


def test_success_forgets_the_failures(run: Run) -> None:
    error = ApiError(500, "InternalError", "no")
    work = FakeWork(error, error, error, 100.0, error, None, takes=0)
    run(worked(work, after(1000, "a")))
    times = work.times()

    assert times[4] - times[3] == pytest.approx(100)
    assert times[5] - times[4] < 1


def test_the_api_servers_wish_to_wait_is_honoured(run: Run) -> None:
    work = FakeWork(*[ApiError(429, "TooManyRequests", "slow down", retry_after=30)] * 40, takes=0)
    run(worked(work, after(1000, "a")))
    pauses = [later - sooner for sooner, later in zip(work.times(), work.times()[1:], strict=False)]

    assert len(pauses) > 5
    assert min(pauses) >= 30


def test_events_during_a_failing_pass_do_not_shorten_its_back_off(run: Run) -> None:
    work = FakeWork(ApiError(500, "InternalError", "no", retry_after=20), None)

    async def script(queue: KeyedQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.times() == [0, 21]


def test_events_while_a_key_backs_off_do_not_lengthen_its_pause(run: Run) -> None:
    work = FakeWork(ApiError(409, "Conflict", "no"), takes=0.0)

    async def script(queue: KeyedQueue[str]) -> None:
        for _ in range(20):
            queue.add("a")
            await asyncio.sleep(0.01)
        early = len(work.starts)
        assert early == 20
        # After about 0.5 and 1 s, as if there had been one pass.
        await asyncio.sleep(0.5)
        assert len(work.starts) == early + 1
        await asyncio.sleep(1.2)
        assert len(work.starts) == early + 2

    run(worked(work, script))


def test_a_failing_key_does_not_delay_others(run: Run) -> None:
    class Failing(FakeWork):
        async def __call__(self, key: str) -> float | None:
            await super().__call__(key)
            if key == "bad":
                raise ApiError(500, "InternalError", "no")
            return 10.0

    work = Failing()
    run(worked(work, after(100, "bad", "a"), workers=1))

    assert len(work.times("bad")) > 3
    assert len(work.times("a")) >= 8


def test_when_a_common_cause_has_passed_what_failed_is_tried_again_at_once(run: Run) -> None:
    work = FakeWork(*[ApiError(0, "Unreachable", "no")] * 14, None, takes=0)

    async def script(queue: KeyedQueue[str]) -> None:
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(40)
        queue.retry_failed()
        await asyncio.sleep(2.5)

    run(worked(work, script))

    for key in "ab":
        before, after_it = work.times(key)[-2:]
        assert before < 40 < after_it <= 42


def test_after_a_common_cause_failures_count_anew(run: Run) -> None:
    work = FakeWork(ApiError(500, "InternalError", "no"), takes=0)

    async def script(queue: KeyedQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(300)
        queue.retry_failed()
        await asyncio.sleep(5)

    run(worked(work, script))

    assert len([time for time in work.times() if time > 300]) >= 3


def test_a_pass_is_repeated_after_the_time_that_it_asks_for(run: Run) -> None:
    work = FakeWork(5.0, takes=0)
    run(worked(work, after(21, "a")))

    assert work.times() == [0, 5, 10, 15, 20]


def test_an_event_comes_before_the_time(run: Run) -> None:
    work = FakeWork(50.0, takes=0)

    async def script(queue: KeyedQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(10)
        queue.add("a")
        await asyncio.sleep(55)

    run(worked(work, script))

    assert work.times() == [0, 10, 60], "the time that the first pass asked for is void"


def test_the_earlier_of_two_times_counts(run: Run) -> None:
    work = FakeWork(takes=0)

    async def script(queue: KeyedQueue[str]) -> None:
        for seconds in (30, 10, 20):
            queue.add_later("a", seconds)
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.times() == [10]


def test_times_of_different_keys_do_not_mix(run: Run) -> None:
    work = FakeWork(takes=0)

    async def script(queue: KeyedQueue[str]) -> None:
        queue.add_later("a", 20)
        queue.add_later("b", 10)
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.starts == [(10, "b"), (20, "a")]


def test_the_end_cancels_passes_under_way(run: Run) -> None:
    ended: list[str] = []

    class Slow(FakeWork):
        async def __call__(self, key: str) -> float | None:
            try:
                return await super().__call__(key)
            except asyncio.CancelledError:
                ended.append(key)
                raise

    run(worked(Slow(takes=1000), after(1, "a", "b")))

    assert sorted(ended) == ["a", "b"]


class Hanging(FakeWork):
    """Passes of keys that begin with h hang for a call's timeout and fail; others take no time."""

    async def __call__(self, key: str) -> float | None:
        self.takes = 20.0 if key.startswith("h") else 0.0
        await super().__call__(key)
        if key.startswith("h"):
            raise ApiError(0, "Unreachable", "no answer")
        return None


def test_keys_that_hang_hold_up_others_for_the_patience_at_most(run: Run) -> None:
    work = Hanging()

    async def script(queue: KeyedQueue[str]) -> None:
        for number in range(10):
            queue.add(f"h{number}")
        queue.add("a")
        await asyncio.sleep(100)

    run(worked(work, script, workers=4))

    assert work.times("a") == [2 * PATIENCE_SECONDS], "two full hands of workers before it"


def test_keys_that_hung_before_delay_no_other_and_are_worked_on_aside(run: Run) -> None:
    work = Hanging()
    together: list[int] = []

    async def script(queue: KeyedQueue[str]) -> None:
        for number in range(10):
            queue.add(f"h{number}")
        await asyncio.sleep(60)
        for _ in range(300):
            queue.add("a")
            await asyncio.sleep(1)
            together.append(len(work.running))

    run(worked(work, script, workers=4))

    assert work.times("a") == [60.0 + second for second in range(300)]
    assert max(together) == 4
    assert all(len(work.times(f"h{number}")) >= 4 for number in range(10))


def test_a_key_that_answers_again_is_worked_on_like_others(run: Run) -> None:
    work = FakeWork(takes=PATIENCE_SECONDS)
    starts: list[int] = []

    async def script(queue: KeyedQueue[str]) -> None:
        for takes in (PATIENCE_SECONDS, 1.0, 1.0):
            work.takes = takes
            queue.add("a")
            await asyncio.sleep(0.5)
            starts.append(len(queue._aside))
            await asyncio.sleep(10)

    run(worked(work, script, workers=1))

    assert starts == [0, 1, 0]
    assert work.times() == [0, 10.5, 21]


def test_longest_is_the_age_of_the_oldest_pass(run: Run) -> None:
    ages: list[float] = []

    async def script(queue: KeyedQueue[str]) -> None:
        ages.append(queue.longest)
        queue.add("a")
        await asyncio.sleep(2)
        queue.add("b")
        await asyncio.sleep(1)
        ages.append(queue.longest)
        await asyncio.sleep(8)
        ages.append(queue.longest)
        await asyncio.sleep(20)
        ages.append(queue.longest)

    run(worked(FakeWork(takes=10), script))

    assert ages == [0.0, 3.0, 9.0, 0.0]
