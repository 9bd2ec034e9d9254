from __future__ import annotations

from tests.helpers.pods import ready_pod
from tests.helpers.status_inputs import NOT_PROBED, REFUSED, inputs, status_of


def served_after_a_restart(serving: int, pods: int) -> int:
    """Return how many replicas count as serving before the first probe.

    Args:
        serving: the replicas that served before, of 120.
        pods: the Ready pods after the restart.
    """
    names = [f"mistral-{index:03}" for index in range(pods)]
    ready = [ready_pod(name) for name in names]
    failed = dict.fromkeys(names[: 120 - serving], REFUSED)
    before = status_of(inputs(*ready[:120], health=failed))
    after = status_of(inputs(*ready, health=dict.fromkeys(names, NOT_PROBED), previous=before))
    return int(after["healthyReplicas"])


def test_replicas_beyond_the_list_serve_after_a_restart_if_all_of_them_served():
    assert served_after_a_restart(serving=120, pods=120) == 120
    assert served_after_a_restart(serving=60, pods=120) == 60


def test_replicas_beyond_the_list_are_not_called_serving_where_none_served():
    assert served_after_a_restart(serving=0, pods=120) == 0
    assert served_after_a_restart(serving=10, pods=120) == 0


def test_new_replicas_beyond_the_list_are_not_called_serving_before_a_probe():
    assert served_after_a_restart(serving=120, pods=121) == 100
