from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.gateway.limits.window import WINDOW_SECONDS, CountWindow


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(1, 10)), max_size=60))
def test_no_sixty_seconds_have_more_than_is_counted(events: list[tuple[float, int]]) -> None:
    window, counted = CountWindow(), []
    for moment, amount in sorted(events):
        window.add(amount, moment)
        counted.append((moment, amount))
        exact = sum(number for time, number in counted if time > moment - WINDOW_SECONDS)
        assert window.total >= exact
        assert window.total <= sum(number for time, number in counted if time > moment - WINDOW_SECONDS - 1)


def test_the_delay_ends_when_enough_has_left() -> None:
    window = CountWindow()
    window.add(3, 10.5)
    window.add(2, 20.0)
    assert window.seconds_until(5, 20.0) == 0
    assert window.seconds_until(4, 20.0) == 51
    assert window.seconds_until(1, 20.0) == 61
    window.expire(71.0)
    assert window.total == 2
    assert window.seconds_until(4, 71.0) == 0
