"""A spec that keeps changing is carried out now and then, and in the end as it stands."""

from vllm_operator.controller.spec_rate_limit import BURST, INTERVAL_SECONDS, SpecRateLimiter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_few_changes_are_carried_out_at_once() -> None:
    pace = SpecRateLimiter(Clock())
    assert [pace.take("a", version) for version in range(BURST)] == [0.0] * BURST


def test_next_one_waits_and_the_wait_is_true() -> None:
    clock = Clock()
    pace = SpecRateLimiter(clock)
    for version in range(BURST):
        pace.take("a", version)
    wait = pace.take("a", "next")
    assert 0 < wait <= INTERVAL_SECONDS
    clock.now += wait
    assert pace.take("a", "next") == 0.0


def test_version_that_was_taken_is_free() -> None:
    pace = SpecRateLimiter(Clock())
    assert [pace.take("a", 1) for _ in range(10 * BURST)] == [0.0] * 10 * BURST


def test_hundred_changes_in_a_second_make_a_handful_of_writes() -> None:
    clock = Clock()
    pace = SpecRateLimiter(clock)
    carried_out = []
    for version in range(100):
        clock.now += 0.01
        if pace.take("a", version) == 0.0:
            carried_out.append(version)
    while pace.take("a", 99):
        clock.now += 0.01
    assert len(carried_out) <= BURST + 1 / INTERVAL_SECONDS + 1


def test_servers_do_not_share_their_pace() -> None:
    pace = SpecRateLimiter(Clock())
    for version in range(10 * BURST):
        pace.take("a", version)
    assert pace.take("b", 1) == 0.0


def test_server_made_anew_starts_anew() -> None:
    pace = SpecRateLimiter(Clock())
    for version in range(10 * BURST):
        pace.take("a", version)
    pace.forget("a")
    assert pace.take("a", "new") == 0.0
