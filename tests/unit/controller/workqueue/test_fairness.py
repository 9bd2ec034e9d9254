"""The namespaces take turns: no tenant's servers delay those of others."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.workqueue.scene import Run
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import MAX_OUTDATED, SLOW_SECONDS, WorkQueue, namespace_of, share_of
from vllm_operator.kube.key import Key

WORKERS = 8
NOISY = [Key("noisy", f"server-{number}") for number in range(1000)]
VICTIM = Key("quiet", "mistral")


class Counting:
    """Reconciles of `takes` seconds, in the order of their starts."""

    def __init__(self, takes: float = 0.1) -> None:
        self.takes = takes
        self.started: list[Key] = []
        self.running = 0
        self.together = 0

    async def __call__(self, key: Key) -> Requeue:
        self.started.append(key)
        self.running += 1
        self.together = max(self.together, self.running)
        await asyncio.sleep(self.takes)
        self.running -= 1
        return Requeue.never()


async def reconcile_beside(
    reconciler: Counting, others: list[Key], *, is_new: bool = False, seconds: float = 1.0
) -> None:
    """Add the keys of other tenants, then that of the victim."""
    queue: WorkQueue[Key] = WorkQueue(reconciler, WORKERS, is_new=lambda key: is_new)
    for key in others:
        queue.add(key)
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0.05)
    queue.add(VICTIM)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("workers", "share"), [(1, 1), (2, 1), (4, 3), (8, 6), (32, 24)])
def test_one_namespace_takes_three_quarters_of_the_workers(workers: int, share: int) -> None:
    assert share_of(workers) == share


def test_namespace_is_that_of_a_key() -> None:
    assert namespace_of(VICTIM) == "quiet"
    assert namespace_of("mistral") is None


@pytest.mark.parametrize("is_new", [False, True])
def test_thousand_servers_of_one_namespace_do_not_delay_another(run: Run, is_new: bool) -> None:
    reconciler = Counting()
    run(reconcile_beside(reconciler, NOISY, is_new=is_new))
    assert reconciler.started.index(VICTIM) <= WORKERS


def test_one_namespace_leaves_workers_free(run: Run) -> None:
    reconciler = Counting(takes=3.0)
    run(reconcile_beside(reconciler, NOISY))
    assert reconciler.started.index(VICTIM) == WORKERS - WORKERS // 4
    assert reconciler.together == WORKERS - WORKERS // 4 + 1


def test_namespaces_take_turns(run: Run) -> None:
    reconciler = Counting()
    others = [Key(namespace, f"server-{number}") for namespace in ("a", "b", "c") for number in range(100)]
    run(reconcile_beside(reconciler, others, seconds=0.5))
    first = [key.namespace for key in reconciler.started[:6]]
    assert first == ["a", "b", "c", "a", "b", "c"]


def test_server_that_is_patched_without_end_does_not_delay_another(run: Run) -> None:
    reconciler = Counting()

    async def patch() -> None:
        queue: WorkQueue[Key] = WorkQueue(reconciler, WORKERS)
        task = asyncio.create_task(queue.run())
        for _ in range(200):
            for key in NOISY[:100]:
                queue.add(key)
            await asyncio.sleep(0.01)
        before = len(reconciler.started)
        queue.add(VICTIM)
        await asyncio.sleep(0.2)
        assert reconciler.started.index(VICTIM) - before <= WORKERS
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(patch())


def test_hanging_keys_release_the_share_of_their_namespace(run: Run) -> None:
    reconciler = Counting(takes=100.0)
    run(reconcile_beside(reconciler, NOISY[:20], seconds=SLOW_SECONDS * 4))
    assert len(reconciler.started) == 21


def test_delayed_keys_leave_no_outdated_entries_behind(run: Run) -> None:
    async def script() -> None:
        queue: WorkQueue[Key] = WorkQueue(Counting(), WORKERS)
        for number in range(5000):
            queue.add_after(VICTIM, 3600.0 - number / 10)
        assert len(queue._delayed) <= 2 + MAX_OUTDATED + 1

    run(script())
