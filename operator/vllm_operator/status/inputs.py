"""Everything that the status of one server is computed from, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.problem import Problem
from vllm_operator.api.replica_bounds import BoundsInForce, RaisedFloor
from vllm_operator.api.status import MAX_REPLICA_STATUSES
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get_int, get_list, get_str
from vllm_operator.kube.types import Object
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.metrics_api_state import STARTING, MetricsApiState
from vllm_operator.status.replicas.pod_memo import PodMemo


@dataclass(frozen=True)
class StatusInputs:
    """Everything that the assessment of a server is computed from.

    Attributes:
        generation: `metadata.generation` of the spec that was reconciled.
        previous: the status as it stands, for transition times and for results that a restart of the operator lost.
        problems: why the spec is refused; empty when it is accepted.
        notes: remarks on an accepted spec, such as checks that could not be made.
        selector: label selector of the pods.
        endpoint: URL of the Service inside the cluster.
        paused: `spec.paused` is true.
        autoscaling: something scales the server on its load.
        scaling: the scaling that the spec asks for; None without any.
        bounds: the bounds of its replicas in force, and their next change; None without any.
        floor: the raised floor of its autoscaler; None while it is not raised.
        other_autoscalers: autoscalers of other people that scale the same pods.
        keda_failure: what keeps the autoscaler that KEDA made from scaling; empty when nothing is known.
        asleep: the server was scaled to zero, and waits to be woken.
        metrics_api: whether the operator serves its metrics API.
        missing_scalers: optional kinds that scaling needs and the cluster lacks.
        scaling_problems: refusals and taken names of the ScaledObject.
        scaling_problem: why the operator itself cannot scale; empty when it can.
        cache_claim: name of the claim that holds the cache; None without one.
        downloads: vLLM downloads the model at its start (Hugging Face), so loading may mean downloading.
        missing_crds: CRDs of optional kinds that monitoring needs and the cluster lacks.
        monitoring: scraping or alerts are wanted.
        snapshot: the cached objects of the server, read after the apply.
        health: pod name -> its last probe result.
        now: the time of this reconcile (UTC).
        wanted_replicas: replicas that the spec asks for; None while the autoscaler decides.
        monitoring_problems: refusals and taken names of monitoring objects; they do not affect serving.
        monitoring_children: optional kinds of which the server is to have a child.
        scrape_annotations: Prometheus finds the replicas by the annotations of their pods alone.
        pending: kinds whose child differs from the spec that a paused server has now, or is not wanted by it.
        log_diagnoses: pod name -> why its container ended, for the containers whose log was read.
        stalled_restarts: when the operator deleted pods of stalled engines, from the status (RFC 3339).
        remediation_note: what the operator does about a stalled engine; empty when it does nothing.
        lookup_results: UID of a pod or claim -> result of its lookup: the stage of a start, or the cause in its Events.
        is_held: a change of the pods waits until the replica is idle.
        held_requests: requests that gateways hold for the server.
        rolled_back: why the operator took the rollout back; empty when it did not.
        sizing: computed memory of the model; empty where it is unknown.
        memo: results about the pods from earlier assessments; they change nothing but the time.
    """

    generation: int
    previous: Object
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    selector: str
    endpoint: str
    paused: bool
    autoscaling: bool
    cache_claim: str | None
    downloads: bool
    missing_crds: tuple[str, ...]
    monitoring: bool
    snapshot: Snapshot
    health: Mapping[str, ReplicaHealth] = field(default_factory=dict)
    now: datetime = datetime.min
    wanted_replicas: int | None = None
    monitoring_problems: tuple[Problem, ...] = ()
    monitoring_children: tuple[str, ...] = ()
    scrape_annotations: bool = False
    pending: tuple[str, ...] = ()
    log_diagnoses: Mapping[str, Diagnosis] = field(default_factory=dict)
    stalled_restarts: tuple[str, ...] = ()
    remediation_note: str = ""
    lookup_results: Mapping[str, Diagnosis] = field(default_factory=dict)
    is_held: bool = False
    held_requests: int = 0
    rolled_back: str = ""
    sizing: Mapping[str, int | bool] = field(default_factory=dict)
    scaling: Autoscaling | None = None
    bounds: BoundsInForce | None = None
    floor: RaisedFloor | None = None
    other_autoscalers: tuple[str, ...] = ()
    keda_failure: str = ""
    asleep: bool = False
    metrics_api: MetricsApiState = STARTING
    missing_scalers: tuple[str, ...] = ()
    scaling_problems: tuple[Problem, ...] = ()
    scaling_problem: str = ""
    memo: PodMemo = field(default_factory=PodMemo, compare=False, repr=False)

    @cached_property
    def unlisted_replicas_served(self) -> bool:
        """Return True when each replica that the previous status did not list was serving.

        The status lists the worst 100 replicas. The others served if `healthyReplicas` counts all of them. With more
        unlisted pods than that, some are new, and nothing is known about any of them.
        """
        entries = get_list(self.previous, "replicaStatuses")
        if len(entries) < MAX_REPLICA_STATUSES:
            return False
        listed = {get_str(entry, "pod") for entry in entries}
        serving = sum(get_str(entry, "phase") == "Serving" for entry in entries)
        unlisted = sum(get_str(pod, "metadata", "name") not in listed for pod in self.snapshot.pods)
        return 0 < unlisted <= (get_int(self.previous, "healthyReplicas") or 0) - serving
