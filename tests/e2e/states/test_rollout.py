"""Row 4: a new revision that cannot start, while the old one serves."""

from __future__ import annotations

from tests.e2e.states.case import Expected
from tests.e2e.states.conftest import Begin
from tests.e2e.states.servers import IMAGE, server
from tools.localcluster import settings

NAME = "rolling"


def test_rollout_to_a_broken_image_while_two_old_replicas_serve(begin: Begin, registry: str) -> None:
    case = begin(NAME)
    rollout = {"maxSurge": 1, "maxUnavailable": 0, "drainTimeoutSeconds": 5}
    case.applies(server(NAME, replicas=2, rollout=rollout))
    case.becomes_ready()
    image = f"{registry}/public/vllm-cpu:no-such-tag"
    broken = {"image": image, "version": settings.VLLM}
    case.suffers(4, "rollout to a broken image, two old replicas serve", lambda: case.changes(broken))
    case.shows(
        Expected(
            "Degraded", "Stuck", ("Pulling", "ImagePullBackOff"),
            rf"^2/2 replicas serve, 2 of an older revision; {NAME}-\S+: .*{image}.*: not found$",
            stalled=True, conditions=("Available=True:OlderRevision", "Progressing=False", "EngineHealthy=True"),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    case.heals(lambda: case.changes({"image": IMAGE, "version": None}))
