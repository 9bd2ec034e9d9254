"""Reconcile one VLLMServer: apply its children, sync its probes, write its status. Watch events only enqueue it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from vllm_operator.api.names import selector_labels
from vllm_operator.apply.applier import Applier
from vllm_operator.apply.pending import pending_children
from vllm_operator.apply.result import ApplyResult
from vllm_operator.apply.rollback import rolled_back
from vllm_operator.controller.autoscaling import AutoscalingParts
from vllm_operator.controller.deletion_costs import DeletionCosts
from vllm_operator.controller.idle_wait import held_until_idle
from vllm_operator.controller.liveness import RECONCILE_DEADLINE_SECONDS
from vllm_operator.controller.namesakes import namesake_inputs
from vllm_operator.controller.recheck_delay import recheck_delay
from vllm_operator.controller.reference_resolver import ReferenceCheck, ReferenceResolver
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.rollbacks import desired_with_rollback, must_roll_back
from vllm_operator.controller.server_state import ServerState, ServerStates
from vllm_operator.controller.status_writer import StatusWriter
from vllm_operator.desired.state import DesiredState
from vllm_operator.errors import NoAnswerError
from vllm_operator.informers.discovery import OptionalKinds
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.informers.store import Store
from vllm_operator.investigation.failed_containers import FailedContainer, failed_container
from vllm_operator.investigation.log_reader import ContainerLogReader
from vllm_operator.investigation.lookups import LookupRunner
from vllm_operator.investigation.stuck_objects import Lookup, lookups_for, stuck_pod
from vllm_operator.kube.fields import get_map
from vllm_operator.kube.key import Key
from vllm_operator.kube.slices import in_slices
from vllm_operator.kube.types import Object
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import PodEndpoint, ProbeTarget, pod_endpoint
from vllm_operator.remediation.policy import BACKOFF_SECONDS, with_decision
from vllm_operator.remediation.remediator import Remediator
from vllm_operator.status.assessment import Assessment, assess
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.engine_states import stalled_messages
from vllm_operator.status.replicas.pod_memo import PodMemo
from vllm_operator.status.replicas.replica import ReplicaAssessor
from vllm_operator.status.rollout import is_late
from vllm_operator.status.settling import is_settling, settling_delay
from vllm_operator.validation.claim_checks import claim_problems

RESTARTS_OFF = (
    "health.restartStalled has no effect: the operator runs with --no-restart-stalled, so stalled replicas are "
    "reported and not deleted"
)
"""Note on a server whose option the operator was not given the right for."""


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Findings:
    """The pods of a server that failed or are stuck, and the memo of its pods."""

    memo: PodMemo
    failures: list[FailedContainer] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)


@dataclass(frozen=True)
class Reconciler:
    """Reconcile servers.

    Attributes:
        store: the caches, from which the snapshots are taken.
        servers: the memory about each server.
        optional_kinds: the optional kinds that the cluster has.
        references: finds missing Secrets and claims.
        applier: writes the children.
        deletion_costs: marks the pods that a scale-down is to remove.
        probes: probes the replicas.
        log_reader: reads the logs of failed containers in the background.
        lookups: runs the lookups in the background.
        remediator: deletes the pods of stalled engines.
        status_writer: writes the status and records Events.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert; empty without any.
        may_restart: whether pods of stalled engines may be deleted at all.
        clock: returns the present time in UTC.
        autoscaling: what the operator does for autoscalers, and scales itself.
        deadline: seconds after which a reconcile is given up and repeated.
    """

    store: Store
    servers: ServerStates
    optional_kinds: OptionalKinds
    references: ReferenceResolver
    applier: Applier
    deletion_costs: DeletionCosts
    probes: ProbeManager
    log_reader: ContainerLogReader
    lookups: LookupRunner
    remediator: Remediator
    status_writer: StatusWriter
    autoscaling: AutoscalingParts
    runbooks: str = ""
    may_restart: bool = True
    clock: Callable[[], datetime] = utc_now
    deadline: float = RECONCILE_DEADLINE_SECONDS

    async def reconcile(self, key: Key) -> Requeue:
        """Bring the server of `key` towards its desired state, and write its status.

        Raises:
            ApiError: a failure that a retry may cure, the refusal of a namespace that is being terminated, or the end
                of the deadline.
        """
        try:
            async with asyncio.timeout(self.deadline):
                return await self._reconcile(key)
        except TimeoutError as error:
            message = f"the reconcile did not end within {self.deadline:.0f} s"
            raise NoAnswerError("Timeout", message) from error

    async def _reconcile(self, key: Key) -> Requeue:
        version = self.store.spec_version(key)
        if version is not None and (delay := self.servers.spec_delay(key, version)):
            return Requeue.after(delay)
        before = await self._snapshot(key)
        if before is None:
            self.servers.forget(key)
            return Requeue.never()
        state = self.servers[key]
        desired = self.autoscaling.observe(key, self._desired(key, before), before)
        references = await self.references.check(key.namespace, desired.references, desired.rights_claimed)
        applied = await self._apply(key, state, before, desired, references)
        # The answers to our writes are in the caches by now, and bring no watch event that would enqueue the server.
        snapshot = self.store.snapshot(key, before)
        if applied.owner_gone or snapshot is None:
            return Requeue.now()
        self.probes.sync(key, await self._probe_targets(key, snapshot, desired))
        findings = await self._examine_pods(state, snapshot)
        inputs = self._status_inputs(key, before.server, snapshot, desired, references, applied, findings)
        assessment = await self._assess(inputs)
        if must_roll_back(state, desired, assessment, self.probes.service_failure(key, assessment.rollout.revision)):
            return Requeue.now()
        may_remediate = self.may_restart and desired.server.restart_stalled and applied.failure is None
        requeue = await self._publish(key, state, assessment, may_remediate=may_remediate)
        await self._refuse_namesakes(key, desired.server.name)
        if self.store.spec_version(key) != version:
            # The answer to a write brought another spec, whose watch event will be ignored.
            return Requeue.now()
        if applied.failure is not None:
            raise applied.failure
        if applied.edited_concurrently:
            return Requeue.now()
        return Requeue.earliest(requeue, recheck_delay(desired, references, applied, self.clock()))

    async def _refuse_namesakes(self, key: Key, owner: str) -> None:
        """Write into the status of every server with the names of this one's children that it gets none."""
        for body in self.store.namesakes(key):
            await self.status_writer.write(key, assess(namesake_inputs(body, key, owner, self.clock())))

    async def _snapshot(self, key: Key) -> Snapshot | None:
        """Return the objects of a server, whose pods are parsed in slices."""
        pods = [cached.body async for cached in in_slices(self.store.replicas(key))]
        return self.store.snapshot(key, parsed=pods)

    def _desired(self, key: Key, snapshot: Snapshot) -> DesiredState:
        installed = self.optional_kinds.installed
        desired = self.servers.desired(
            key, snapshot.server, installed, self.runbooks, snapshot.deployment, self.clock()
        )
        problems = claim_problems(desired.claim, snapshot.claim)
        if problems:
            return replace(desired, problems=problems)
        state = self.servers[key]
        desired = desired_with_rollback(state, snapshot, desired)
        return held_until_idle(state, snapshot, desired, self.probes.loads(key), self.clock())

    async def _apply(
        self, key: Key, state: ServerState, before: Snapshot, desired: DesiredState, references: ReferenceCheck
    ) -> ApplyResult:
        """Apply the children; a server that is refused or paused keeps those that it has."""
        server = desired.server
        if desired.problems or references.missing or server.paused:
            return ApplyResult()
        await self.deletion_costs.prepare(key, before, server.replicas, self.autoscaling.loads(key))
        unknown_kinds = self.optional_kinds.lacking
        applied = await self.applier.apply(key, server, state.writes, desired.manifests, unknown_kinds)
        for kind in applied.kinds_gone:
            self.optional_kinds.mark_missing(kind)
        return applied

    async def _examine_pods(self, state: ServerState, snapshot: Snapshot) -> _Findings:
        """Find out in slices which pods failed or are stuck."""
        state.pods.keep(snapshot.pods)
        findings, late, stuck = _Findings(state.pods), is_late(snapshot), []
        async for body in in_slices(snapshot.pods):
            if failed := failed_container(body, late, state.pods):
                findings.failures.append(failed)
            stuck.append(stuck_pod(body, state.pods))
        findings.lookups.extend(lookups_for(snapshot, stuck))
        return findings

    async def _assess(self, inputs: StatusInputs) -> Assessment:
        """Judge the server after its pods, which are judged in slices."""
        assessor = ReplicaAssessor(inputs)
        return assess(inputs, [assessor.assess(body) async for body in in_slices(inputs.snapshot.pods)])

    async def _probe_targets(self, key: Key, snapshot: Snapshot, desired: DesiredState) -> list[ProbeTarget]:
        """Return the replicas to probe. Each is handed over at once: 10,000 new ones would hold the event loop."""
        server = desired.server
        # A new leader starts from the stalled engines in the status.
        stalled = stalled_messages(get_map(snapshot.server, "status"))
        targets = []
        async for pod in in_slices(snapshot.pods):
            if (endpoint := pod_endpoint(pod, desired.served_names)) is None:
                continue
            target = ProbeTarget(
                key=key,
                pod=endpoint.pod,
                uid=endpoint.uid,
                base_url=endpoint.base_url,
                served_names=endpoint.served_names,
                interval=server.probe_interval,
                synthetic_completion=server.synthetic_completion,
                reported_stall=stalled.get(endpoint.pod, ""),
                ready=endpoint.ready,
                revision=endpoint.revision,
                limits=server.limits,
                api_key=await self._api_key(key, endpoint),
            )
            self.probes.add(target)
            targets.append(target)
        return targets

    async def _api_key(self, key: Key, endpoint: PodEndpoint) -> str | None:
        reference = endpoint.api_key
        return await self.references.secret_value(key.namespace, *reference) if reference else None

    def _status_inputs(
        self,
        key: Key,
        reconciled: Object,
        snapshot: Snapshot,
        desired: DesiredState,
        references: ReferenceCheck,
        applied: ApplyResult,
        findings: _Findings,
    ) -> StatusInputs:
        """Collect the status inputs.

        Args:
            key: the server's key.
            reconciled: the VLLMServer whose spec was reconciled; the snapshot may hold a newer one.
            snapshot: the objects after the apply.
            desired: the desired state.
            references: the check of the references.
            applied: the result of the apply.
            findings: the pods that failed or are stuck.
        """
        metadata, server, previous = reconciled["metadata"], desired.server, get_map(snapshot.server, "status")
        # While the apply fails, `observedGeneration` stays: the status is not yet that of the new spec.
        generation = metadata.get("generation", 0) if applied.failure is None else previous.get("observedGeneration", 0)
        return StatusInputs(
            generation=generation,
            previous=previous,
            problems=desired.problems + references.missing + applied.problems,
            notes=desired.warnings
            + self._restart_notes(desired)
            + applied.conflicts
            + applied.admission_changes.notes
            + references.warnings,
            selector=",".join(f"{name}={value}" for name, value in selector_labels(metadata["name"]).items()),
            endpoint=server.endpoint,
            paused=server.paused,
            autoscaling=server.autoscaling,
            **self.autoscaling.status_inputs(key, server),
            missing_scalers=server.missing_scalers,
            scaling_problems=applied.scaling_problems,
            # A number of replicas that an admission policy sets counts as the wanted one: no other is ever reached.
            wanted_replicas=None if applied.admission_changes.replicas_overridden else server.replicas,
            cache_claim=server.cache_claim,
            downloads=server.downloads,
            missing_crds=server.missing_crds,
            monitoring=server.monitoring,
            snapshot=snapshot,
            health=self.probes.health(key),
            now=self.clock(),
            monitoring_problems=applied.monitoring_problems,
            monitoring_children=server.monitoring_children,
            scrape_annotations=server.scrape_annotations,
            pending=self._pending(key, desired),
            log_diagnoses=self.log_reader.diagnoses(key, findings.failures),
            stalled_restarts=tuple(previous.get("stalledRestarts") or ()),
            lookup_results=self.lookups.results(key, findings.lookups),
            is_held=desired.is_held,
            rolled_back=rolled_back(snapshot.deployment) if server.auto_rollback else "",
            sizing=desired.memory.fields,
            memo=findings.memo,
        )

    def _pending(self, key: Key, desired: DesiredState) -> tuple[str, ...]:
        """Return the kinds of the children of a paused server that do not follow its spec."""
        if not desired.server.paused or desired.problems:
            return ()
        return pending_children(self.store, key, desired.server, desired.manifests, self.optional_kinds.lacking)

    def _restart_notes(self, desired: DesiredState) -> tuple[str, ...]:
        return (RESTARTS_OFF,) if desired.server.restart_stalled and not self.may_restart else ()

    async def _publish(self, key: Key, state: ServerState, assessment: Assessment, *, may_remediate: bool) -> Requeue:
        """Write the status, unless `_status_delay` delays it; delete the pod of a stalled engine where allowed."""
        delay = self._status_delay(key, state, assessment)
        if delay is not None:
            return Requeue.after(delay)
        if not may_remediate:
            await self.status_writer.write(key, assessment)
            return Requeue.never()
        decision = self.remediator.decide(assessment)
        assessment = with_decision(assessment, decision)
        # The status counts the deletion first: after a crash in between, the next process deletes a pod less, not more.
        written = await self.status_writer.write(key, assessment)
        if decision.delete is None:
            return Requeue(decision.requeue_after)
        if not written:
            return Requeue.never()
        await self.remediator.delete(key, decision.delete.pod, assessment)
        return Requeue.after(BACKOFF_SECONDS)

    def _status_delay(self, key: Key, state: ServerState, assessment: Assessment) -> float | None:
        """Return the seconds for which the status waits for a log, a probe or another write; None to write it now."""
        inputs = assessment.inputs
        if (delay := self.status_writer.delay(inputs.snapshot.server)) is not None:
            return delay
        if not inputs.problems and is_settling(inputs.snapshot):
            delay = settling_delay(assessment, state.settling_seconds(inputs.now))
            if delay is None:
                state.settling_since = None
            return delay
        state.settling_since = None
        if inputs.problems:
            return None
        delays = (self.log_reader.status_delay(key), self.probes.status_delay(key))
        return min((delay for delay in delays if delay is not None), default=None)
