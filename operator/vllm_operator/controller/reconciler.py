"""One pass over one server: parse, plan, render, apply, observe, judge. Events only wake it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from vllm_operator.api.names import child_name, selector_labels
from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS
from vllm_operator.apply.applier import Applier
from vllm_operator.apply.result import ApplyResult
from vllm_operator.apply.write_history import WriteHistory
from vllm_operator.controller.reference_resolver import ReferenceResolver
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.snapshot import observe
from vllm_operator.controller.spec_rate_limit import SpecRateLimiter
from vllm_operator.controller.status_writer import write_status
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.desired.state import DesiredState, DesiredStateCache
from vllm_operator.informers.discovery import OptionalKinds
from vllm_operator.informers.store import Store
from vllm_operator.investigation.log_reader import ContainerLogReader
from vllm_operator.investigation.lookups import LookupRunner
from vllm_operator.investigation.stuck_objects import questions
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CLAIM
from vllm_operator.kube.types import Object
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import PodEndpoint, ProbeTarget, pod_endpoint
from vllm_operator.remediation.policy import BACKOFF_SECONDS, with_decision
from vllm_operator.remediation.remediator import Remediator
from vllm_operator.status.assessment import Assessment, assess
from vllm_operator.status.build import build_status, needs_write
from vllm_operator.status.events import status_events
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.engine_states import stalled_message
from vllm_operator.status.settling import is_settling, settling_delay
from vllm_operator.validation.claim_checks import claim_problems

MISSING_AGAIN_SECONDS = 5.0
"""When to look again for a Secret or a claim that is missing: they are not watched."""

REFUSED_AGAIN_SECONDS = 30.0
"""When to try again what the API server refused or another owner holds."""

REFERENCES_AGAIN_SECONDS = 60.0
"""When to look again whether the Secrets are still there."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReconcilerDependencies:
    """What a pass reads and writes."""

    client: ApiClient
    store: Store
    children: Applier
    references: ReferenceResolver
    capabilities: OptionalKinds
    prober: ProbeManager
    diagnoses: ContainerLogReader
    events: EventRecorder
    lookups: LookupRunner
    on_heal: Callable[[], None] = lambda: None
    """Called for each pod that is deleted because its engine is frozen."""


class Reconciler:
    """Brings servers to what their specs ask for, and tells the truth about them."""

    def __init__(
        self,
        cluster: ReconcilerDependencies,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        runbooks: str = "",
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._healing = Remediator(cluster.client, cluster.store, cluster.prober, cluster.events, cluster.on_heal)
        self._desired = DesiredStateCache(runbooks)
        self._rate_limiters: dict[Key, SpecRateLimiter] = {}
        self._unsettled: dict[Key, datetime] = {}
        """Since when Kubernetes' controllers have yet to answer to a change."""
        self._histories: dict[Key, WriteHistory] = {}
        """The earlier writes of each server's children."""

    async def reconcile(self, key: Key) -> Requeue:
        """One pass over the server of `key`; returns the seconds after which to look again, if any.

        Raises:
            ApiError: something that may pass, or a namespace that ends.
        """
        body = self._cluster.store.server(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return Requeue.never()
        version = (body["metadata"].get("uid"), body["metadata"].get("generation"))
        if delay := self._rate_limiters.setdefault(key, SpecRateLimiter(time.monotonic)).delay(version):
            return Requeue.after(delay)
        desired = self._desired.get(key, body, self._cluster.capabilities.installed)
        if unfit := claim_problems(desired.claim, self._claim(key, body)):
            desired = replace(desired, problems=unfit)
        missing = await self._cluster.references.problems(key.namespace, desired.references)
        outcome = await self._apply(key, desired, missing)
        if outcome.owner_gone:
            return Requeue.now()
        await self._probe(key, desired)
        remarks = () if missing else await self._cluster.references.notes(key.namespace, desired.references)
        facts = self._facts(key, body, desired, missing, outcome)
        facts = replace(facts, notes=facts.notes + remarks)
        assessment = assess(facts)
        pause = self._settling_pause(key, assessment)
        if pause is None:
            heals = desired.server.restart_stalled and outcome.failure is None
            pause = await self._judge(key, body["metadata"], assessment, heals=heals)
        if not self._cluster.store.has_same_spec(body):
            # An answer brought another spec, and its event will tell nothing new.
            return Requeue.now()
        if outcome.failure is not None:
            raise outcome.failure
        if outcome.edited_concurrently:
            return Requeue.now()
        return Requeue.earliest(Requeue(pause), Requeue(_again(desired, missing, outcome)))

    def retry_failed_writes(self) -> None:
        """Send every failed write again in the next reconcile of its server: a common cause may be gone."""
        for history in self._histories.values():
            history.retry_failed()

    def settles(self, key: Key) -> bool:
        """True while a status waits for Kubernetes' controllers, whose answers come in bursts."""
        return key in self._unsettled

    async def _judge(
        self, key: Key, metadata: Mapping[str, Any], assessment: Assessment, *, heals: bool
    ) -> float | None:
        """Write the status, and delete the pod of a frozen engine where that is wanted and allowed."""
        if not heals:
            await self._report(key, metadata, assessment)
            return None
        decision = self._healing.decide(assessment)
        assessment = with_decision(assessment, decision)
        # Counted before it is done: whoever takes over from here deletes rather too little than too much.
        reported = await self._report(key, metadata, assessment)
        if decision.delete is None:
            return decision.requeue_after
        if not reported:
            return None
        await self._healing.delete(key, metadata, decision.delete.pod, assessment)
        return BACKOFF_SECONDS

    def _forget(self, key: Key) -> None:
        self._cluster.prober.sync(key, ())
        self._cluster.diagnoses.forget(key)
        self._cluster.events.forget(key)
        self._cluster.lookups.forget(key)
        self._desired.forget(key)
        self._rate_limiters.pop(key, None)
        self._unsettled.pop(key, None)
        self._histories.pop(key, None)

    def _claim(self, key: Key, body: Mapping[str, Any]) -> Object | None:
        name = child_name(body["metadata"]["name"], "cache")
        return self._cluster.store.get(CLAIM.name, key.namespace, name)

    async def _apply(self, key: Key, desired: DesiredState, missing: tuple[Problem, ...]) -> ApplyResult:
        """Bring the children to the plan; a server that is refused or paused keeps those that it has."""
        server = desired.server
        if desired.problems or missing or server.paused:
            return ApplyResult()
        history = self._histories.setdefault(key, self._cluster.children.new_history())
        outcome = await self._cluster.children.apply(
            key, server, history, desired.manifests, self._cluster.capabilities.lacking
        )
        for kind in outcome.kinds_gone:
            self._cluster.capabilities.mark_missing(kind)
        return outcome

    async def _probe(self, key: Key, desired: DesiredState) -> None:
        """Tell the prober which replicas there are."""
        endpoints = (pod_endpoint(pod, desired.served_names) for pod in self._cluster.store.pods(key))
        targets = [await self._target(key, endpoint, desired.server) for endpoint in endpoints if endpoint]
        self._cluster.prober.sync(key, targets)

    async def _target(self, key: Key, endpoint: PodEndpoint, server: ServerSummary) -> ProbeTarget:
        reference = endpoint.api_key
        api_key = await self._cluster.references.secret_value(key.namespace, *reference) if reference else None
        return ProbeTarget(
            key=key,
            pod=endpoint.pod,
            uid=endpoint.uid,
            base_url=endpoint.base_url,
            served_names=endpoint.served_names,
            interval=server.probe_interval,
            synthetic_completion=server.synthetic_completion,
            reported_stall=self._stalled(key, endpoint.pod),
            ready=endpoint.ready,
            api_key=api_key,
        )

    def _stalled(self, key: Key, pod: str) -> str:
        """What the status says of a frozen engine: a new leader starts from there."""
        status = (self._cluster.store.server(key) or {}).get("status") or {}
        return stalled_message(status, pod)

    def _settling_pause(self, key: Key, assessment: Assessment) -> float | None:
        """Seconds to wait before a status says something lasting; None when it does now."""
        facts = assessment.inputs
        if facts.problems:
            self._unsettled.pop(key, None)
            return None
        if not is_settling(facts.observed):
            self._unsettled.pop(key, None)
            return earliest(self._cluster.diagnoses.pause(key), self._cluster.prober.status_delay(key))
        # A clock that was set back begins anew.
        since = self._unsettled[key] = min(self._unsettled.get(key, facts.now), facts.now)
        waited = (facts.now - since).total_seconds()
        pause = settling_delay(assessment, waited)
        if pause is None:
            del self._unsettled[key]
        return pause

    async def _report(self, key: Key, metadata: Mapping[str, Any], assessment: Assessment) -> bool:
        """Judge what is seen and write the status, when it says something new; False when it cannot be told."""
        status, facts = build_status(assessment), assessment.inputs
        if not needs_write(facts.previous, status):
            return True
        if not await write_status(self._cluster.client, self._cluster.store, metadata, status):
            return False
        for notice in status_events(facts.previous, status):
            logger.info("%s: %s: %s", key, notice.reason, notice.note)
            await self._cluster.events.record(key, metadata, notice.type, notice.reason, notice.note, facts.now)
        return True

    def _facts(
        self, key: Key, body: Object, desired: DesiredState, missing: tuple[Problem, ...], outcome: ApplyResult
    ) -> StatusInputs:
        metadata, server = body["metadata"], desired.server
        # The cache may hold a newer spec by now, which is the next pass's; but the newest status.
        newest = self._cluster.store.newest_server(body) or body
        previous = newest.get("status") or {}
        # A spec that could not be carried out yet was not observed: nobody may take the status for its own.
        carried_out = outcome.failure is None
        observed = observe(self._cluster.store, key, metadata["name"], server.cache_claim)
        return StatusInputs(
            generation=metadata.get("generation", 0) if carried_out else previous.get("observedGeneration", 0),
            previous=previous,
            problems=desired.problems + missing + outcome.problems,
            notes=desired.warnings + outcome.conflicts + outcome.admission_changes.notes,
            selector=",".join(f"{name}={value}" for name, value in selector_labels(metadata["name"]).items()),
            endpoint=server.endpoint,
            paused=server.paused,
            autoscaling=server.autoscaling,
            # What a policy makes of the number is what is wanted: to wait for another would never end.
            wanted_replicas=None if outcome.admission_changes.replicas_overridden else server.replicas,
            cache_claim=server.cache_claim,
            downloads=server.downloads,
            missing_crds=server.missing_crds,
            monitoring=server.monitoring,
            observed=observed,
            health=self._cluster.prober.health(key),
            now=self._clock(),
            monitoring_refusals=outcome.monitoring_refusals,
            log_diagnoses=self._cluster.diagnoses.of(key, observed),
            stalled_restarts=tuple(previous.get("stalledRestarts") or ()),
            lookup_results=self._cluster.lookups.of(key, questions(observed)),
        )


def earliest(*pauses: float | None) -> float | None:
    """The shortest of some pauses; None when there is none."""
    return min((pause for pause in pauses if pause is not None), default=None)


def _again(desired: DesiredState, missing: tuple[Problem, ...], outcome: ApplyResult) -> float | None:
    if missing:
        return MISSING_AGAIN_SECONDS
    if outcome.needs_recheck:
        return REFUSED_AGAIN_SECONDS
    return earliest(
        REFERENCES_AGAIN_SECONDS if desired.references else None,
        ADMISSION_RECHECK_SECONDS if outcome.admission_changes.notes else None,
    )
