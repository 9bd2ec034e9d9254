"""Deletes the pods of frozen engines, as `remediation.policy` decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import POD
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.remediation.policy import GRACE_SECONDS, PER_HOUR, Decision, FleetHealth, decide, recent_restarts
from vllm_operator.status.assessment import Assessment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remediator:
    """What a deletion takes."""

    client: ApiClient
    store: Store
    prober: ProbeManager
    events: EventRecorder
    on_delete: Callable[[], None] = lambda: None
    """Called after each deletion."""

    def decide(self, assessment: Assessment) -> Decision:
        """What is to be done for a server, in view of all servers."""
        unresponsive = self.prober.unresponsive()
        return decide(assessment, FleetHealth(self.prober.replicas, len(unresponsive), len(set(unresponsive))))

    async def delete(self, key: Key, metadata: Mapping[str, Any], pod: str, assessment: Assessment) -> None:
        """Delete a pod that was decided upon, once the status counts it.

        Args:
            key: the server's key.
            metadata: of the server.
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
            self.store.put(POD.name, answer)  # so that no pass takes it for a living one meanwhile
        self.on_delete()
        number = len(recent_restarts(assessment.inputs))
        note = f"{pod}: deleted, for its engine is frozen (number {number} of {PER_HOUR} in an hour)"
        logger.warning("%s: %s", key, note)
        await self.events.record(key, metadata, "Warning", "EngineRestarted", note, assessment.inputs.now)
