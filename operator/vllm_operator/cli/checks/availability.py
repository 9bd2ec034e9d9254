"""Items about replicas, health checks, load balancing, autoscaling and the model cache."""

from __future__ import annotations

from vllm_operator.api.spec import possible_replicas
from vllm_operator.cli.checks.item import CheckItem, CheckResult, CheckSubject, does_not_apply, passes
from vllm_operator.cli.gathered import engine_container
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import condition, field, items, texts

SECTION = "Availability"


def replicas(subject: CheckSubject) -> CheckResult:
    """Judge the number of replicas."""
    scaler = subject.spec.autoscaling
    least = scaler.min_replicas if scaler else subject.spec.replicas
    name = "autoscaling.minReplicas" if scaler else "replicas"
    healthy = field(subject.status, "healthyReplicas")
    live = f"; {healthy} serve now" if isinstance(healthy, int) else ""
    if isinstance(healthy, int) and healthy < least:
        message = clean(field(subject.status, "message"), 600)
        cause = f": {message}" if message else ""
        return CheckResult("fail", f"{name} is {least}{live}{cause}", "see the rest with: kubectl vllm doctor NAME")
    if least >= 2:
        return passes(f"{name} is {least}{live}, behind one Service")
    return CheckResult(
        "warn",
        f"{name} is {least}{live}: nobody serves while its only replica is replaced, drained or loads the model",
        f"set {name} to 2 or more",
    )


def probes(subject: CheckSubject) -> CheckResult:
    """Judge the probes of the container that runs vLLM."""
    container = engine_container(subject.objects.get("Deployment", {}), "spec", "template")
    if not container:
        return CheckResult("unknown", "there is no Deployment of the server", "see: kubectl vllm doctor")
    kinds = ("startupProbe", "readinessProbe", "livenessProbe")
    missing = [kind for kind in kinds if not container.get(kind)]
    if missing:
        return CheckResult("fail", f"the container has no {', '.join(missing)}", "remove that change from podTemplate")
    shown = ", ".join(f"{kind} {clean(field(container, kind, 'httpGet', 'path')) or 'set'}" for kind in kinds)
    mode = subject.spec.health.synthetic_completion
    return passes(f"{shown}; the operator probes each engine too (syntheticCompletion: {mode})")


def load_balancing(subject: CheckSubject) -> CheckResult:
    """Judge how requests are spread: a Service ignores the load of the replicas."""
    if possible_replicas(subject.spec) < 2:
        return does_not_apply("at most one replica")
    affinity = subject.spec.service.spec and subject.spec.service.spec.session_affinity == "ClientIP"
    pinned = " and keeps each client at one replica (sessionAffinity: ClientIP)" if affinity else ""
    return CheckResult(
        "warn",
        f"the Service picks a replica at random for each connection{pinned}: long answers pile up at some",
        "put a proxy with least connections in front (nginx least_conn, Envoy LEAST_REQUEST), and let clients use "
        "several connections",
    )


def autoscaling(subject: CheckSubject) -> CheckResult:
    """Judge the autoscaler and its metrics."""
    scaler = subject.spec.autoscaling
    if scaler is None:
        return CheckResult(
            "warn",
            "autoscaling is unset: the replicas do not follow the load",
            "set autoscaling.maxReplicas (docs/how-to/autoscale.md)",
        )
    requests = "running requests" if scaler.source == "prometheus-adapter" else "running and waiting requests"
    targets = f"{scaler.target_running_requests} {requests}"
    if scaler.target_kv_cache_usage is not None:
        targets += f" and {scaler.target_kv_cache_usage:.0%} of the KV cache"
    bounds = f"{scaler.min_replicas} to {scaler.max_replicas} replicas"
    found = f"{bounds} by source: {scaler.source}, aims at {targets} per replica"
    if subject.flag("--disable-log-stats") is not None:
        return CheckResult("fail", "--disable-log-stats hides the metrics of the autoscaler", "remove it")
    active = condition({"status": subject.status}, "AutoscalingActive")
    if active.get("status") == "False":
        return CheckResult(
            "fail",
            f"{found}; AutoscalingActive is False: {clean(active.get('message'))}",
            "see the message, and docs/how-to/autoscale.md for the sources",
        )
    return passes(f"{found}{'; it computes' if active.get('status') == 'True' else ''}")


def model_cache(subject: CheckSubject) -> CheckResult:
    """Judge where a new replica gets the model from."""
    uri, cache = subject.spec.model.uri, subject.spec.cache
    if uri.startswith(("file://", "pvc://")):
        return passes(f"the model comes with the pod ({clean(uri, 100)}): nothing is downloaded")
    if cache is None:
        return CheckResult(
            "warn",
            "cache is unset: each new replica downloads the model",
            "set cache.size with a storage class that offers ReadWriteMany, or cache.existingClaim",
        )
    if cache.per_replica:
        return CheckResult(
            "warn", "cache.perReplica: each new pod downloads the model", "share the cache: remove perReplica"
        )
    ready = condition({"status": subject.status}, "CacheReady")
    if ready.get("status") == "False":
        return CheckResult("fail", f"CacheReady is False: {clean(ready.get('message'))}", "repair the claim")
    kind = "claim" if cache.size or cache.existing_claim else "volume"
    modes = items({"objects": list(subject.objects.values())}, "objects")
    claim = next((body for body in modes if body.get("kind") == "PersistentVolumeClaim"), {})
    access = ", ".join(texts(claim, "spec", "accessModes"))
    return passes(f"the replicas share one {kind}{f' ({access})' if access else ''}")


ITEMS = (
    CheckItem("replicas", SECTION, "Several replicas behind one address", replicas),
    CheckItem("probes", SECTION, "Health checks", probes),
    CheckItem("load-balancing", SECTION, "Load balancing by load", load_balancing),
    CheckItem("autoscaling", SECTION, "Autoscaling on the load of vLLM", autoscaling),
    CheckItem("model-cache", SECTION, "Shared model cache", model_cache),
)
