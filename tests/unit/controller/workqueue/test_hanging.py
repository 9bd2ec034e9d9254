"""Keys whose passes hang do not hold up others."""

from __future__ import annotations

import asyncio

from tests.unit.controller.workqueue.scene import FakeWork, Run, after, worked
from vllm_operator.controller.workqueue import PATIENCE_SECONDS, WorkQueue
from vllm_operator.errors import NoAnswerError
from vllm_operator.kube.bulkhead import OWNER

CROWD = [f"h{number}" for number in range(10)]


class Hanging(FakeWork):
    """Passes of keys that begin with h hang for a call's timeout and fail; others take no time."""

    async def __call__(self, key: str) -> float | None:
        self.takes = 20.0 if key.startswith("h") else 0.0
        await super().__call__(key)
        if key.startswith("h"):
            raise NoAnswerError("Unreachable", "no answer")
        return None


def test_keys_that_hang_hold_up_others_for_the_patience_at_most(run: Run) -> None:
    work = Hanging()
    run(worked(work, after(100, *CROWD, "a"), workers=4))

    assert work.times("a") == [2 * PATIENCE_SECONDS], "two full hands of workers before it"


def test_keys_that_hung_before_delay_no_other_and_are_worked_on_aside(run: Run) -> None:
    work = Hanging()
    together: list[int] = []

    async def script(queue: WorkQueue[str]) -> None:
        for key in CROWD:
            queue.add(key)
        await asyncio.sleep(60)
        for _ in range(300):
            queue.add("a")
            await asyncio.sleep(1)
            together.append(len(work.running))

    run(worked(work, script, workers=4))

    assert work.times("a") == [60.0 + second for second in range(300)]
    assert max(together) == 4
    assert all(len(work.times(key)) >= 4 for key in CROWD)


def test_key_that_answers_again_is_worked_on_like_others(run: Run) -> None:
    work = FakeWork(takes=PATIENCE_SECONDS)
    aside: list[bool] = []

    async def script(queue: WorkQueue[str]) -> None:
        for takes in (PATIENCE_SECONDS, 1.0, 1.0):
            work.takes = takes
            queue.add("a")
            await asyncio.sleep(10.5)
            aside.append(queue._lane("a") is queue._aside)

    run(worked(work, script, workers=1))

    assert aside == [True, False, False]
    assert work.times() == [0, 10.5, 21]


def test_new_keys_that_hang_delay_no_key_that_is_known(run: Run) -> None:
    work = Hanging()
    run(worked(work, after(30, *CROWD, "a"), workers=4, is_new=CROWD.__contains__))

    assert work.times("a") == [0]
    assert len(work.times("h9")) >= 1


def test_what_a_pass_does_is_on_behalf_of_its_key(run: Run) -> None:
    owners: list[object] = []

    class Asking(FakeWork):
        async def __call__(self, key: str) -> float | None:
            await asyncio.gather(asyncio.create_task(self.ask()))
            return await super().__call__(key)

        async def ask(self) -> None:
            owners.append(OWNER.get())

    run(worked(Asking(), after(10, "a", "b")))

    assert owners == ["a", "b"]
    assert OWNER.get() is None
