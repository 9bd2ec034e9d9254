"""Which place of which child a field governs, and the few cases in which a change of it may show nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.integration import fields
from tests.integration.fields import Children, Look, at, container, env, flag, owned, pod
from tools.harness.kube import Object
from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.kube.quantity import parse_quantity

CLAIM = "PersistentVolumeClaim"
AUTOSCALER = "HorizontalPodAutoscaler"
MONITOR = "PodMonitor"
RULE = "PrometheusRule"

KEPT_BY_KUBERNETES = ("service.nodePort", "service.spec.ipFamilyPolicy", "service.spec.ipFamilies")
"""Fields whose value stays in the Service when they are unset: the API server takes over what it had."""


def both(*looks: Look) -> Look:
    """Return a view that combines several views."""
    return lambda children: [look(children) for look in looks]


def within(path: str, look: Look) -> dict[str, Look]:
    """The same look for every field below `path`."""
    return {change.path: look for change in fields.CHANGES if change.path.startswith(f"{path}.")}


def either_form(name: str) -> Look:
    """A switch of vLLM, on or off."""
    return both(flag(name), flag(f"--no-{name.removeprefix('--')}"))


def annotations(kind: str) -> Look:
    """The annotations of a child without the hash, which every change of the child changes."""

    def look(children: Children) -> Any:
        given = at(kind, "metadata/annotations")(children) or {}
        return {key: value for key, value in given.items() if key != ANNOTATION_HASH}

    return look


BEHAVIOR = "autoscaling.behavior"
CACHE_VOLUME = pod("volumes/name=model-cache")

LOOKS: dict[str, Look] = {
    **{change.path: change.look for change in fields.CHANGES},
    **within("autoscaling.behavior", at(AUTOSCALER, "spec/behavior")),
    **within("monitoring.alerts", at(RULE, "spec/groups")),
    **within("monitoring.slo", at(RULE, "spec/groups")),
    **within("monitoring.tracing", both(pod("containers/name=vllm/args"), pod("containers/name=vllm/env"))),
    **within("model.tokenSecretRef", env("HF_TOKEN", "valueFrom")),
    **within("security.apiKeySecretRef", env("VLLM_API_KEY", "valueFrom")),
    "imagePullSecrets": pod("imagePullSecrets"),
    "engine.env": container("env"),
    "engine.extraArgs": container("args"),
    "engine.enablePrefixCaching": either_form("--enable-prefix-caching"),
    "engine.enableChunkedPrefill": either_form("--enable-chunked-prefill"),
    "model.servedNames": container("args"),
    "accelerator.resourceName": container("resources"),
    "accelerator.count": container("resources"),
    "accelerator.product": pod("nodeSelector"),
    "resources.limits": container("resources"),
    "resources.requests": container("resources"),
    "resources.claims": container("resources/claims"),
    "scheduling.nodeSelector": pod("nodeSelector"),
    "scheduling.tolerations": pod("tolerations"),
    "scheduling.topologySpreadConstraints": pod("topologySpreadConstraints"),
    "cache.size": both(at(CLAIM, "spec/resources/requests"), CACHE_VOLUME),
    "cache.existingClaim": CACHE_VOLUME,
    "cache.volume": CACHE_VOLUME,
    "cache.perReplica": CACHE_VOLUME,
    "cache.retain": lambda children: owned(CLAIM)(children) if CLAIM in children else None,
    "cache.storageClassName": both(at(CLAIM, "spec/storageClassName"), CACHE_VOLUME),
    "cache.accessModes": both(at(CLAIM, "spec/accessModes"), CACHE_VOLUME),
    "autoscaling.targetRunningRequests": at(AUTOSCALER, "spec/metrics"),
    "autoscaling.targetKVCacheUsage": at(AUTOSCALER, "spec/metrics"),
    "autoscaling.source": at(AUTOSCALER, "spec/metrics"),
    "autoscaling.paused": at(AUTOSCALER, "spec/behavior"),
    **dict.fromkeys((f"{BEHAVIOR}", f"{BEHAVIOR}.scaleUp", f"{BEHAVIOR}.scaleDown"), at(AUTOSCALER, "spec/behavior")),
    "autoscaling.behavior.scaleUp.policies": at(AUTOSCALER, "spec/behavior"),
    "autoscaling.behavior.scaleDown.policies": at(AUTOSCALER, "spec/behavior"),
    "service.annotations": annotations("Service"),
    "service.labels": at("Service", "metadata/labels"),
    "service.nodePort": at("Service", "spec/ports/0/nodePort"),
    "service.spec.ipFamilyPolicy": at("Service", "spec/ipFamilyPolicy"),
    "service.spec.ipFamilies": at("Service", "spec/ipFamilies"),
    "service.spec.loadBalancerClass": at("Service", "spec/loadBalancerClass"),
    "metadata.labels": at("Deployment", "metadata/labels"),
    "metadata.annotations": annotations("Deployment"),
    "monitoring.labels": both(at(MONITOR, "metadata/labels"), at(RULE, "metadata/labels")),
    "monitoring.tracing.protocol": env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
    "monitoring.scrape": both(at("Deployment", "spec/template/metadata/annotations"), at("PodMonitor", "spec")),
    "health.startupTimeoutSeconds": at("Deployment", "spec/progressDeadlineSeconds"),
    "rollout.drainTimeoutSeconds": pod("terminationGracePeriodSeconds"),
    "security.profile": pod("securityContext"),
    "security.podSecurityContext": pod("securityContext"),
    "security.containerSecurityContext": container("securityContext"),
    "podTemplate": at("Deployment", "spec/template"),
}
"""Field, as `changed_fields` names it -> the place that it governs."""

NO_CHILD = {
    "health.probeIntervalSeconds": "it reaches the operator's own prober",
    "health.syntheticCompletion": "it reaches the operator's own prober",
    "health.restartStalled": "it decides what the operator does with a stalled replica",
    "rollout.waitForIdle": "it decides when a change of the pods is carried out",
    "rollout.waitForIdleSeconds": "it decides when a change of the pods is carried out",
    "rollout.autoRollback": "it decides what the operator does with a failed rollout",
    "autoscaling.fastPath": "it decides when replicas are added",
    "autoscaling.schedule": "the time decides which bounds count",
    "paused": "it keeps the operator from the children; the status says so",
    "autoscaling.idleSeconds": "it decides when a server goes to sleep",
    **dict.fromkeys(
        (change.path for change in fields.CHANGES if change.path.startswith("autoscaling.keda")),
        "it reaches the ScaledObject, which these tests do not read",
    ),
    "version": "it tells which flags and metrics vLLM has: children differ only where those do",
}
"""Fields whose change need not change any child, each with the reason."""


@dataclass(frozen=True)
class Situation:
    """A spec before and after a change, as the API server stores them, and the children before."""

    before: Object
    after: Object
    children: Mapping[str, Object]

    def values(self, path: str) -> tuple[Any, Any]:
        """Return the values of a field before and after."""
        return found(self.before, path), found(self.after, path)

    def either(self, path: str) -> bool:
        """Return whether a field is set before or after."""
        return any(value is not None for value in self.values(path))


def found(spec: Object, path: str) -> Any:
    """A field's value; None where it is not set."""
    place: Any = spec
    for step in path.split("."):
        place = place.get(step) if isinstance(place, dict) else None
    return place


def unset(value: Any) -> Any:
    """A value with all that means the same as nothing taken away; quantities as numbers."""
    if isinstance(value, dict):
        kept = {key: unset(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None} or None
    if isinstance(value, list):
        return [unset(item) for item in value] or None
    if value is None or value == "":
        return None
    number = parse_quantity(value) if isinstance(value, str) else None
    return value if number is None else number


def spread(spec: Object) -> object:
    """The constraints of a spec, or those that its pods have without any."""
    default = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    constraints = found(spec, "scheduling.topologySpreadConstraints")
    return [{**default, "matchLabelKeys": ["pod-template-hash"]}] if constraints is None else constraints


def served_names(spec: Object) -> list[str]:
    """The names that clients send: by default the last part of the uri."""
    return found(spec, "model.servedNames") or [spec["model"]["uri"].rstrip("/").rpartition("/")[2]]


def devices(spec: Object) -> int:
    """Devices of a replica: the count, or one for each rank."""
    accelerator, engine = spec["accelerator"], spec.get("engine", {})
    if not accelerator["resourceName"]:
        return 0
    if accelerator.get("count") is not None:
        return int(accelerator["count"])
    tensor = 2 if "-tp" in engine.get("extraArgs", ()) else engine.get("tensorParallelSize", 1)
    return int(tensor * engine.get("pipelineParallelSize", 1) * engine.get("dataParallelSize", 1))


def possible_replicas(spec: Object) -> int:
    """The most replicas that a spec allows."""
    if "autoscaling" not in spec:
        return int(spec["replicas"])
    windows = (window.get("maxReplicas", 0) for window in spec["autoscaling"].get("schedule", ()))
    return int(max(spec["autoscaling"]["maxReplicas"], *windows, 0))


def own_modes(cache: Object | None) -> object:
    """Return the access modes of the claims of the replicas; None where they have none."""
    return (cache.get("accessModes") or ["ReadWriteOnce"]) if cache and cache.get("perReplica") else None


def together(case: Situation, *paths: str) -> bool:
    """Return whether maps, of which the later wins, make the same map before and after."""
    before, after = (
        {key: item for path in paths for key, item in (found(spec, path) or {}).items()}
        for spec in (case.before, case.after)
    )
    return before == after


def unmonitored(spec: Object) -> bool:
    """Return whether a spec asks for neither a PodMonitor nor a PrometheusRule."""
    ruled = found(spec, "monitoring.alerts.enabled") or found(spec, "monitoring.slo")
    return found(spec, "monitoring.scrape") in {"annotations", "none"} and not ruled


def kept(path: str) -> Callable[[Situation], bool]:
    """True when the claim is not the spec's any more, or is one that stays as it is."""

    def check(case: Situation) -> bool:
        before, after = case.values("cache")
        if (after or {}).get("perReplica"):
            return path == "cache.retain" or (path == "cache.accessModes" and own_modes(before) == own_modes(after))
        if not (after or {}).get("size"):
            return bool((before or {}).get("retain", True)) or not (before or {}).get("size")
        if path == "cache.storageClassName":
            # Any class will do, and a claim cannot lose the one that it has.
            return after.get("storageClassName") is None and CLAIM in case.children
        modes = set(case.children.get(CLAIM, {}).get("spec", {}).get("accessModes", ()))
        return path == "cache.accessModes" and set(after.get("accessModes") or modes) == modes

    return check


QUIET: tuple[tuple[str, Callable[[Situation], bool], str], ...] = (
    ("replicas", lambda case: case.either("autoscaling"), "the autoscaler decides"),
    ("model.servedNames", lambda case: served_names(case.before) == served_names(case.after), "the default name"),
    ("accelerator.count", lambda case: devices(case.before) == devices(case.after), "as many by default"),
    ("accelerator.resourceName", lambda case: devices(case.before) == devices(case.after) == 0, "no device"),
    (
        "scheduling.topologySpreadConstraints",
        lambda case: spread(case.before) == spread(case.after),
        "spread by default",
    ),
    ("disruption", lambda case: max(map(possible_replicas, (case.before, case.after))) < 2, "no budget for one"),
    ("monitoring.alerts", lambda case: case.values("monitoring.alerts.enabled") == (False, False), "no alerts"),
    ("monitoring.slo", lambda case: case.values("monitoring.slo.alerts") == (False, False), "only recording rules"),
    ("cache.retain", kept("cache.retain"), "no claim that would go"),
    ("cache.storageClassName", kept("cache.storageClassName"), "a claim stays as it is"),
    ("cache.accessModes", kept("cache.accessModes"), "a claim stays as it is"),
    ("service.labels", lambda case: together(case, "metadata.labels", "service.labels"), "the labels of all children"),
    (
        "service.annotations",
        lambda case: together(case, "metadata.annotations", "service.annotations"),
        "the annotations of all children",
    ),
    (
        "monitoring.labels",
        lambda case: together(case, "metadata.labels", "monitoring.labels"),
        "the labels of all children",
    ),
    ("monitoring.labels", lambda case: unmonitored(case.before) and unmonitored(case.after), "no child to label"),
)
"""Field, when its change shows nowhere, and why."""

DEFAULTS: dict[str, Any] = {
    f"{BEHAVIOR}.scaleUp.stabilizationWindowSeconds": 0,
    f"{BEHAVIOR}.scaleUp.selectPolicy": "Max",
    f"{BEHAVIOR}.scaleDown.selectPolicy": "Max",
    "service.spec.sessionAffinity": "None",
    "service.spec.sessionAffinityConfig.clientIP.timeoutSeconds": 10_800,
    "service.spec.internalTrafficPolicy": "Cluster",
    "service.spec.externalTrafficPolicy": "Cluster",
    "service.spec.allocateLoadBalancerNodePorts": True,
    "service.spec.publishNotReadyAddresses": False,
    "service.spec.ipFamilyPolicy": "SingleStack",
    "service.spec.ipFamilies": ["IPv4"],
}
"""Defaults of Kubernetes: setting them changes nothing."""


def is_default(path: str, case: Situation) -> bool:
    """Return whether a field is set to Kubernetes' default, or no longer; without a behavior, none of it is there."""
    if path not in DEFAULTS or (path.startswith(BEHAVIOR) and found(case.before, BEHAVIOR) is None):
        return False
    return all(value in (None, DEFAULTS[path]) for value in case.values(path))


SWITCHES = ("engine.enforceEager", "engine.trustRemoteCode", "engine.enableAutoToolChoice")
"""Switches that are off in vLLM itself: false says what it does anyway."""


def why_quiet(path: str, case: Situation) -> str:
    """Why the change of a field need not show in any child; empty when it must."""
    if case.before.get("paused") or case.after.get("paused"):
        return "paused"
    if path in NO_CHILD:
        return NO_CHILD[path]
    before, after = case.values(path)
    if path in KEPT_BY_KUBERNETES and after is None:
        return "Kubernetes keeps the value"
    if unset(before) == unset(after) and path != "scheduling.topologySpreadConstraints":
        return "it means the same"
    if is_default(path, case):
        return "Kubernetes' own default"
    if path in SWITCHES and not before and not after:
        return "off anyway"
    return next((why for field, rule, why in QUIET if path.startswith(field) and rule(case)), "")


ACROSS: tuple[tuple[str, str], ...] = (
    # --disable-log-stats removes the metrics that objectives need.
    ("monitoring.slo", "spec.engine.extraArgs"),
    # Two families need a policy for two.
    ("service.spec.ipFamilies", "spec.service.spec.ipFamilyPolicy"),
    ("replicas", "spec.cache"),
    ("autoscaling", "spec.cache"),
    ("autoscaling", "spec.engine"),
    ("autoscaling", "spec.autoscaling.targetRunningRequests"),
    ("engine", "spec.autoscaling.targetRunningRequests"),
    ("image", "spec.engine"),
    ("version", "spec.engine"),
    ("podTemplate", "spec.resources.claims"),
    ("accelerator.resourceName", "spec.accelerator.product"),
    ("health.startupTimeoutSeconds", "spec.rollout"),
)
"""A field that was changed -> another one that may be named for it, because the two do not fit together."""


def names(message: str, changed: list[str]) -> bool:
    """Return whether a refusal names a changed field, one above or below it, or one that does not fit it."""
    if any(re.search(rf"\b{path.rpartition('.')[2]}\b", message) for path in changed if "." in path):
        return True
    named_paths = [
        re.sub(r"\[[^\]]*\]", "", path) for path in re.findall(r"spec(?:\.[A-Za-z]+(?:\[[^\]]*\])?)+", message)
    ]
    # A new object without its required field: the object is what was changed.
    named_paths += re.findall(r"(spec\.[\w.]+)\.\w+: Required value", message)
    for path in (f"spec.{path}" for path in changed):
        if any(path == one or path.startswith(f"{one}.") or one.startswith(f"{path}.") for one in named_paths):
            return True
    return any(
        path.startswith(field) and any(one.startswith(other) for one in named_paths)
        for path in changed
        for field, other in ACROSS
    )
