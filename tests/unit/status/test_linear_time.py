"""No message of a pod or a Deployment takes more than linear time to judge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.helpers.linear_time import UNITS, assert_linear
from tests.helpers.pods import crashed_pod, scheduling_pod, termination, waiting_pod
from tests.helpers.status_inputs import inputs, status_of
from vllm_operator.status.permanent_failures import is_permanent, refuses_pods
from vllm_operator.status.replicas.pod import read_pod
from vllm_operator.status.replicas.pod_states import unscheduled
from vllm_operator.status.rollout import _REPLICA_SET

OBJECT_LENGTH = 1_500_000
"""Characters of the largest text that etcd's limit for one object lets through."""

MESSAGE = 1024
TERMINATION = 12 * 4096
"""Characters of the termination messages of the 12 containers that a kubelet keeps at most."""

HOSTILE = (
    *UNITS,
    *(
        "Insufficient ",
        "Insufficient a",
        "Insufficient a/",
        "0/1 nodes",
        " preemption:",
        'ReplicaSet "',
        'ReplicaSet "a',
    ),
    *("admission webhook ", 'serviceaccount "', 'Back-off pulling image "', "violates PodSecurity", "401 "),
)
FUNCTIONS: dict[str, tuple[Callable[[str], object], int]] = {
    "unscheduled": (lambda text: unscheduled(read_pod(scheduling_pod(message=text))), OBJECT_LENGTH),
    "wanted revision": (_REPLICA_SET.search, OBJECT_LENGTH),
    "refuses_pods": (refuses_pods, MESSAGE),
    "is_permanent": (lambda text: is_permanent("Pulling", "ImagePullBackOff", text), MESSAGE),
    "crashed": (lambda text: status_of(inputs(crashed_pod(termination(1, text)))), TERMINATION),
    "waiting": (lambda text: status_of(inputs(waiting_pod("ImagePullBackOff", text))), OBJECT_LENGTH),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_class_of_characters_takes_linear_time(name: str) -> None:
    call, length = FUNCTIONS[name]
    for unit in HOSTILE:
        assert_linear(call, unit, length)
