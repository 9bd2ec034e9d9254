"""What is known of a server at one moment: the frozen input of the status.

`cluster` and `engine` fill these records, `status` judges them; none of the three knows another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vllm_operator.api.problem import Problem
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.kube.types import Object
from vllm_operator.probing.health import ReplicaHealth


@dataclass(frozen=True)
class Observation:
    """The children of one server as the watch caches hold them; None where a child does not exist."""

    deployment: Object | None = None
    claim: Object | None = None
    autoscaler: Object | None = None
    pods: tuple[Object, ...] = ()


@dataclass(frozen=True)
class StatusInputs:
    """Everything that a status is computed from.

    Attributes:
        generation: `metadata.generation` of the spec that was judged.
        previous: the status as it stands, for transition times.
        problems: why the manifest is refused; empty when it is accepted.
        notes: remarks on an accepted manifest, such as checks that could not be made.
        selector: label selector of the pods.
        endpoint: URL of the Service inside the cluster.
        paused: the user paused the server.
        autoscaling: a HorizontalPodAutoscaler is wanted.
        cache_claim: name of the claim that holds the cache; None without one.
        downloads: the model is downloaded at start (Hugging Face), so loading may mean downloading.
        missing_crds: optional CRDs that monitoring wants and the cluster lacks.
        monitoring: scraping or alerts are wanted.
        observed: the children.
        health: pod name -> what it answered last.
        now: the time of this pass (UTC).
        replicas: replicas that the spec asks for; None while autoscaling decides.
        diagnoses: pod name -> why its container ended, as far as its log was read.
        restarts: when pods of frozen engines were deleted, as the status tells (RFC 3339).
        cure: what the operator does about a frozen engine; empty when that is left to people.
        monitoring_problems: refusals of monitoring objects, which block nothing.
        findings: UID of a pod or claim -> what was looked up about it: the stage of a start, or what events explain.
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
    observed: Observation
    health: Mapping[str, ReplicaHealth] = field(default_factory=dict)
    now: datetime = datetime.min
    replicas: int | None = None
    monitoring_problems: tuple[Problem, ...] = ()
    diagnoses: Mapping[str, Diagnosis] = field(default_factory=dict)
    restarts: tuple[str, ...] = ()
    cure: str = ""
    findings: Mapping[str, Diagnosis] = field(default_factory=dict)
