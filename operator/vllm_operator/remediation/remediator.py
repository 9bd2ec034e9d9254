"""Delete the pods of stalled engines, as `remediation.policy` decides."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import POD
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.remediation.fleet import fleet_health
from vllm_operator.remediation.policy import (
    GRACE_SECONDS,
    PER_HOUR,
    Decision,
    decide,
    has_stalled_replica,
    recent_restarts,
)
from vllm_operator.status.assessment import Assessment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remediator:
    """Decide about the stalled engines of a server, and delete their pods.

    Attributes:
        client: sends the deletions.
        store: the caches, which receive the answers.
        probes: shows how many replicas of all servers are unresponsive.
        events: records an Event for each deletion.
        on_delete: called after each deletion.
    """

    client: ApiClient
    store: Store
    probes: ProbeManager
    events: EventRecorder
    on_delete: Callable[[], None] = lambda: None

    def decide(self, assessment: Assessment) -> Decision:
        """Decide about one server, with the health of all servers in view."""
        if not has_stalled_replica(assessment):
            return Decision()  # Most reconciles: the replicas of all servers need not be counted.
        namespace = get_str(assessment.inputs.snapshot.server, "metadata", "namespace")
        return decide(assessment, fleet_health(namespace, self.probes.counts()))

    async def delete(self, key: Key, pod: str, assessment: Assessment) -> None:
        """Delete a pod that `decide` chose, after the status that counts the deletion was written.

        Args:
            key: the server's key.
            pod: name of the pod.
            assessment: the assessment that counts this deletion.

        Raises:
            ApiError: the pod was not deleted.
        """
        live = self.store.get(POD.name, key.namespace, pod)
        if live is None:
            return
        answer = await self.client.delete(POD, key.namespace, pod, live["metadata"]["uid"], GRACE_SECONDS)
        if answer.get("kind") == POD.name:
            # With its deletion timestamp: else the next reconcile could still count the pod as a living one.
            self.store.put(POD.name, answer)
        self.on_delete()
        inputs = assessment.inputs
        number = len(recent_restarts(inputs))
        note = f"{pod}: deleted, because its engine is stalled (number {number} of {PER_HOUR} in an hour)"
        logger.warning("%s: %s", key, note)
        metadata = inputs.snapshot.server["metadata"]
        await self.events.record(key, metadata, "Warning", "EngineRestarted", note, inputs.now)
