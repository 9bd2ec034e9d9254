"""Every leaf field of the spec, with a change of it and the place where the change must arrive."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from tests.integration.servers import vllm_container
from tools.harness.kube import Object
from vllm_operator.api.fields import Model
from vllm_operator.api.spec import Spec

Children = Mapping[str, Object]
Look = Callable[[Children], Any]


def leaves(model: type[Model] = Spec, path: str = "") -> Iterator[str]:
    """Paths of all leaf fields; `[]` marks a list of objects, as in `engine.env[].name`."""
    for name, info in model.model_fields.items():
        where = f"{path}{info.alias or name}"
        inner, is_list = inner_model(info.annotation)
        if inner is None:
            yield where
        else:
            yield from leaves(inner, f"{where}[]." if is_list else f"{where}.")


def inner_model(annotation: Any) -> tuple[type[Model] | None, bool]:
    """The model that a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, False
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return inner_model(get_args(annotation)[0])
    if origin is list:
        return inner_model(get_args(annotation)[0])[0], True
    if origin in (typing.Union, types.UnionType):
        found = [inner_model(argument) for argument in get_args(annotation)]
        return next((pair for pair in found if pair[0] is not None), (None, False))
    return None, False


def nested(path: str, value: Any) -> Object:
    """A spec in which only this field is set; `[]` is a list of one object."""
    head, _, rest = path.partition(".")
    inner = nested(rest, value) if rest else value
    return {head.removesuffix("[]"): [inner] if head.endswith("[]") else inner}


def merged(base: Any, over: Any) -> Any:
    """`over` merged into `base`: objects by key, lists of objects item by item."""
    if isinstance(base, dict) and isinstance(over, dict):
        result = copy.deepcopy(base)
        for key, value in over.items():
            result[key] = merged(result.get(key), value)
        return result
    if isinstance(base, list) and isinstance(over, list) and base and over and isinstance(over[0], dict):
        return [merged(base[0], over[0]), *base[1:]]
    return copy.deepcopy(over)


@dataclass(frozen=True)
class Change:
    """One field set to `value` on a server that has `given`; afterwards `look` finds `expected`."""

    path: str
    value: Any
    look: Look
    expected: Any
    given: Object = field(default_factory=dict)

    @property
    def changed(self) -> Object:
        """The spec with the change."""
        return merged(self.given, nested(self.path, self.value))


def at(kind: str, path: str) -> Look:
    """Return the value at a path of a child; `name=value` picks from a list, a missing step gives None."""

    def look(children: Children) -> Any:
        place: Any = children.get(kind)
        for step in path.split("/"):
            place = one_step(place, step)
        return place

    return look


def one_step(place: Any, step: str) -> Any:
    if isinstance(place, list):
        key, separator, value = step.partition("=")
        if separator:
            return next((item for item in place if item.get(key) == value), None)
        return place[int(step)] if int(step) < len(place) else None
    return place.get(step) if isinstance(place, dict) else None


def pod(path: str) -> Look:
    """Return a reader of the pod's spec."""
    return at("Deployment", f"spec/template/spec/{path}")


def container(path: str) -> Look:
    """Return a reader of the vLLM container."""
    return pod(f"containers/name=vllm/{path}")


def env(name: str, path: str = "value") -> Look:
    """Return a reader of an environment variable."""
    return container(f"env/name={name}/{path}")


def has_scrape_annotation(children: Children) -> bool:
    """Return whether the pods ask Prometheus for a scrape."""
    metadata = children["Deployment"]["spec"]["template"]["metadata"]
    return "prometheus.io/scrape" in metadata.get("annotations", {})


def arguments(children: Children) -> list[str]:
    """The arguments of the vLLM container."""
    return list(vllm_container(children["Deployment"])["args"])


def flag(name: str) -> Look:
    """The value of an argument in either form; True for a switch, None when it is not there."""

    def look(children: Children) -> Any:
        words = arguments(children)
        for position, word in enumerate(words):
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
            if word == name:
                after = words[position + 1 : position + 2]
                return after[0] if after and not after[0].startswith("--") else True
        return None

    return look


def exists(kind: str) -> Look:
    return lambda children: kind in children


def owned(kind: str) -> Look:
    """Return a reader of whether a child is deleted with its server."""
    return lambda children: bool(children[kind]["metadata"].get("ownerReferences"))


def alert(name: str, path: str) -> Look:
    """Return a reader of an alert of the PrometheusRule."""

    def look(children: Children) -> Any:
        for group in children["PrometheusRule"]["spec"]["groups"]:
            if found := one_step([rule for rule in group["rules"] if "alert" in rule], f"alert={name}"):
                return at("rule", path)({"rule": found})
        return None

    return look


def some_expression(text: str) -> Look:
    """Return a reader of whether the expression of any alert contains this text."""

    def look(children: Children) -> bool:
        rules = [rule for group in children["PrometheusRule"]["spec"]["groups"] for rule in group["rules"]]
        return any(text in rule["expr"] for rule in rules if "alert" in rule)

    return look


def any_rule(text: str) -> Look:
    """Return a reader of whether the expression of any rule contains this text."""

    def look(children: Children) -> bool:
        groups = (children.get("PrometheusRule") or {"spec": {"groups": []}})["spec"]["groups"]
        return any(text in rule["expr"] for group in groups for rule in group["rules"])

    return look


def one_objective(name: str) -> Object:
    """Return a spec with one objective."""
    threshold = {} if name == "availability" else {"thresholdSeconds": 1}
    return {"monitoring": {"slo": {name: {"objective": 0.99, **threshold}}}}


OBJECTIVES = ("availability", "timeToFirstToken", "timePerOutputToken", "latency")
ONE_OBJECTIVE = one_objective("availability")
TRACED = {"monitoring": {"tracing": {"endpoint": "http://collector:4317"}}}
SECRET_ENV = {"engine": {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}]}}
CONFIG_ENV = {"engine": {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}]}}
FIELD_ENV = {"engine": {"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}}
LIMIT_ENV = {"engine": {"env": [{"name": "X", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}}
TOLERATION = {"scheduling": {"tolerations": [{"key": "team", "operator": "Equal", "value": "a"}]}}
SPREAD = {
    "scheduling": {
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]
    }
}
CLAIMS = {"resources": {"claims": [{"name": "gpus"}]}, "podTemplate": {"spec": {"resourceClaims": [
    {"name": "gpus", "resourceClaimTemplateName": "gpus"}, {"name": "more", "resourceClaimTemplateName": "more"}
]}}}  # fmt: skip
SCALING = {"autoscaling": {"maxReplicas": 4}}
KEDA = {"autoscaling": {"maxReplicas": 4, "source": "keda", "keda": {"serverAddress": "http://prometheus:9090"}}}
FALLBACK = {"autoscaling": {"maxReplicas": 4, "source": "keda", "keda": {
    "serverAddress": "http://prometheus:9090", "fallback": {"failureThreshold": 5, "replicas": 2}}}}  # fmt: skip
CRON = {"type": "cron", "metadata": {
    "timezone": "Etc/UTC", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": "3"}}  # fmt: skip
ALWAYS_OPEN = {
    "autoscaling": {
        "maxReplicas": 4,
        "schedule": [{"start": "0 0 * * *", "durationSeconds": 172_800, "minReplicas": 2}],
    }
}
"""A window of two days opens every day."""
UP = {"autoscaling": {"maxReplicas": 4, "behavior": {"scaleUp": {"policies": [
    {"type": "Pods", "value": 1, "periodSeconds": 60}]}}}}  # fmt: skip
DOWN = {"autoscaling": {"maxReplicas": 4, "behavior": {"scaleDown": {"policies": [
    {"type": "Pods", "value": 1, "periodSeconds": 60}]}}}}  # fmt: skip
TOKEN = {"model": {"tokenSecretRef": {"name": "hf", "key": "token"}}}
API_KEY = {"security": {"apiKeySecretRef": {"name": "keys", "key": "token"}}}

MODEL = [
    Change("model.uri", "hf://tiny-org/other", flag("--model"), "tiny-org/other"),
    Change("model.revision", "v2", flag("--revision"), "v2"),
    Change("model.servedNames", ["mine"], flag("--served-model-name"), "mine"),
    Change("model.tokenSecretRef.name", "keys", env("HF_TOKEN", "valueFrom/secretKeyRef/name"), "keys", TOKEN),
    Change("model.tokenSecretRef.key", "other", env("HF_TOKEN", "valueFrom/secretKeyRef/key"), "other", TOKEN),
    Change("image", "vllm/vllm-openai:v0.31.0", container("image"), "vllm/vllm-openai:v0.31.0"),
    Change("version", "0.32.0", flag("--shutdown-timeout"), "120", {"image": "registry.example/vllm:custom"}),
    Change("imagePullSecrets[].name", "registry", pod("imagePullSecrets/0/name"), "registry"),
]

ENGINE = [
    Change("engine.tensorParallelSize", 2, flag("--tensor-parallel-size"), "2"),
    Change("engine.pipelineParallelSize", 2, flag("--pipeline-parallel-size"), "2"),
    Change("engine.dataParallelSize", 2, flag("--data-parallel-size"), "2"),
    Change("engine.gpuMemoryUtilization", 0.85, flag("--gpu-memory-utilization"), "0.85"),
    Change("engine.maxModelLen", 4096, flag("--max-model-len"), "4096"),
    Change("engine.maxNumSeqs", 128, flag("--max-num-seqs"), "128"),
    Change("engine.maxNumBatchedTokens", 2048, flag("--max-num-batched-tokens"), "2048"),
    Change("engine.enablePrefixCaching", False, flag("--no-enable-prefix-caching"), True),
    Change("engine.quantization", "fp8", flag("--quantization"), "fp8"),
    Change("engine.dtype", "bfloat16", flag("--dtype"), "bfloat16"),
    Change("engine.kvCacheDtype", "fp8", flag("--kv-cache-dtype"), "fp8"),
    Change("engine.enableChunkedPrefill", False, flag("--no-enable-chunked-prefill"), True),
    Change("engine.enforceEager", True, flag("--enforce-eager"), True),
    Change("engine.loadFormat", "safetensors", flag("--load-format"), "safetensors"),
    Change("engine.chatTemplate", "/templates/chat.jinja", flag("--chat-template"), "/templates/chat.jinja"),
    Change("engine.speculativeConfig", {"method": "ngram"}, flag("--speculative-config"), '{"method":"ngram"}'),
    Change("engine.trustRemoteCode", True, flag("--trust-remote-code"), True),
    Change("engine.enableAutoToolChoice", True, flag("--enable-auto-tool-choice"), True,
           {"engine": {"toolCallParser": "mistral"}}),
    Change("engine.toolCallParser", "hermes", flag("--tool-call-parser"), "hermes"),
    Change("engine.reasoningParser", "deepseek_r1", flag("--reasoning-parser"), "deepseek_r1"),
    Change("engine.extraArgs", ["--enable-log-requests"], flag("--enable-log-requests"), True),
    Change("engine.command", ["vllm", "serve"], container("command"), ["vllm", "serve"]),
    Change("engine.env[].name", "NEW", env("NEW"), "1", {"engine": {"env": [{"name": "OLD", "value": "1"}]}}),
    Change("engine.env[].value", "2", env("X"), "2", {"engine": {"env": [{"name": "X", "value": "1"}]}}),
    Change("engine.env[].valueFrom.secretKeyRef.name", "keys", env("X", "valueFrom/secretKeyRef/name"), "keys",
           SECRET_ENV),
    Change("engine.env[].valueFrom.secretKeyRef.key", "other", env("X", "valueFrom/secretKeyRef/key"), "other",
           SECRET_ENV),
    Change("engine.env[].valueFrom.secretKeyRef.optional", True, env("X", "valueFrom/secretKeyRef/optional"), True,
           SECRET_ENV),
    Change("engine.env[].valueFrom.configMapKeyRef.name", "more", env("X", "valueFrom/configMapKeyRef/name"), "more",
           CONFIG_ENV),
    Change("engine.env[].valueFrom.configMapKeyRef.key", "b", env("X", "valueFrom/configMapKeyRef/key"), "b",
           CONFIG_ENV),
    Change("engine.env[].valueFrom.configMapKeyRef.optional", True, env("X", "valueFrom/configMapKeyRef/optional"),
           True, CONFIG_ENV),
    Change("engine.env[].valueFrom.fieldRef.fieldPath", "status.podIP", env("X", "valueFrom/fieldRef/fieldPath"),
           "status.podIP", FIELD_ENV),
    Change("engine.env[].valueFrom.resourceFieldRef.resource", "limits.memory",
           env("X", "valueFrom/resourceFieldRef/resource"), "limits.memory", LIMIT_ENV),
    Change("engine.env[].valueFrom.resourceFieldRef.containerName", "vllm",
           env("X", "valueFrom/resourceFieldRef/containerName"), "vllm", LIMIT_ENV),
    Change("engine.env[].valueFrom.resourceFieldRef.divisor", "1m", env("X", "valueFrom/resourceFieldRef/divisor"),
           "1m", LIMIT_ENV),
]  # fmt: skip

PLACEMENT = [
    Change("replicas", 3, at("Deployment", "spec/replicas"), 3),
    Change("accelerator.resourceName", "amd.com/gpu", container("resources/limits"), {"amd.com/gpu": "1"}),
    Change("accelerator.count", 4, container("resources/requests"), {"nvidia.com/gpu": "4"}),
    Change("accelerator.product", "NVIDIA-L4", pod("nodeSelector"), {"nvidia.com/gpu.product": "NVIDIA-L4"}),
    Change("resources.limits", {"memory": "32Gi"}, container("resources/limits/memory"), "32Gi"),
    Change("resources.requests", {"cpu": "500m"}, container("resources/requests/cpu"), "500m"),
    Change("resources.claims[].name", "more", container("resources/claims/0/name"), "more", CLAIMS),
    Change("resources.claims[].request", "big", container("resources/claims/0/request"), "big", CLAIMS),
    Change("sharedMemory", "2Gi", pod("volumes/name=shm/emptyDir/sizeLimit"), "2Gi"),
    Change("scheduling.nodeSelector", {"pool": "gpu"}, pod("nodeSelector/pool"), "gpu"),
    Change("scheduling.tolerations[].key", "squad", pod("tolerations/1/key"), "squad", TOLERATION),
    Change("scheduling.tolerations[].operator", "Exists", pod("tolerations/1/operator"), "Exists",
           {"scheduling": {"tolerations": [{"key": "team"}]}}),
    Change("scheduling.tolerations[].value", "b", pod("tolerations/1/value"), "b", TOLERATION),
    Change("scheduling.tolerations[].effect", "NoExecute", pod("tolerations/1/effect"), "NoExecute", TOLERATION),
    Change("scheduling.tolerations[].tolerationSeconds", 60, pod("tolerations/1/tolerationSeconds"), 60,
           {"scheduling": {"tolerations": [{"key": "team", "operator": "Exists", "effect": "NoExecute"}]}}),
    Change("scheduling.affinity", {"nodeAffinity": {}}, pod("affinity"), {"nodeAffinity": {}}),
    Change("scheduling.topologySpreadConstraints[].maxSkew", 2, pod("topologySpreadConstraints/0/maxSkew"), 2, SPREAD),
    Change("scheduling.topologySpreadConstraints[].topologyKey", "rack",
           pod("topologySpreadConstraints/0/topologyKey"), "rack", SPREAD),
    Change("scheduling.topologySpreadConstraints[].whenUnsatisfiable", "DoNotSchedule",
           pod("topologySpreadConstraints/0/whenUnsatisfiable"), "DoNotSchedule", SPREAD),
    Change("scheduling.topologySpreadConstraints[].labelSelector", {"matchLabels": {"a": "b"}},
           pod("topologySpreadConstraints/0/labelSelector"), {"matchLabels": {"a": "b"}}, SPREAD),
    Change("scheduling.topologySpreadConstraints[].matchLabelKeys", ["pod-template-hash"],
           pod("topologySpreadConstraints/0/matchLabelKeys"), ["pod-template-hash"], SPREAD),
    Change("scheduling.topologySpreadConstraints[].minDomains", 2, pod("topologySpreadConstraints/0/minDomains"), 2,
           merged(SPREAD, nested("scheduling.topologySpreadConstraints[].whenUnsatisfiable", "DoNotSchedule"))),
    Change("scheduling.topologySpreadConstraints[].nodeAffinityPolicy", "Ignore",
           pod("topologySpreadConstraints/0/nodeAffinityPolicy"), "Ignore", SPREAD),
    Change("scheduling.topologySpreadConstraints[].nodeTaintsPolicy", "Honor",
           pod("topologySpreadConstraints/0/nodeTaintsPolicy"), "Honor", SPREAD),
    Change("scheduling.priorityClassName", "high", pod("priorityClassName"), "high"),
    Change("scheduling.runtimeClassName", "nvidia", pod("runtimeClassName"), "nvidia"),
    Change("scheduling.schedulerName", "other", pod("schedulerName"), "other"),
    Change("cache.existingClaim", "models", pod("volumes/name=model-cache/persistentVolumeClaim/claimName"), "models"),
    Change("cache.volume", {"hostPath": {"path": "/m"}}, pod("volumes/name=model-cache/hostPath/path"), "/m"),
    Change(
        "cache.perReplica",
        True,
        pod("volumes/name=model-cache/ephemeral/volumeClaimTemplate/spec/resources/requests/storage"),
        "1Gi",
        {"cache": {"size": "1Gi"}},
    ),
    Change("cache.retain", False, owned("PersistentVolumeClaim"), True, {"cache": {"size": "1Gi"}}),
    Change("security.apiKeySecretRef.name", "hf", env("VLLM_API_KEY", "valueFrom/secretKeyRef/name"), "hf", API_KEY),
    Change("security.apiKeySecretRef.key", "other", env("VLLM_API_KEY", "valueFrom/secretKeyRef/key"), "other",
           API_KEY),
    Change("security.profile", "openshift", pod("securityContext/runAsUser"), None),
    Change("security.podSecurityContext", {"runAsUser": 2000}, pod("securityContext/runAsUser"), 2000),
    Change("security.containerSecurityContext", {"readOnlyRootFilesystem": True},
           container("securityContext/readOnlyRootFilesystem"), True),
]  # fmt: skip

HPA = "HorizontalPodAutoscaler"
SCALED = "ScaledObject"
OPERATIONS = [
    Change("autoscaling.minReplicas", 2, at(HPA, "spec/minReplicas"), 2, SCALING),
    Change("autoscaling.maxReplicas", 6, at(HPA, "spec/maxReplicas"), 6, SCALING),
    Change("autoscaling.targetRunningRequests", 30, at(HPA, "spec/metrics/0/pods/target/averageValue"), "30", SCALING),
    Change("autoscaling.targetKVCacheUsage", 0.8, at(HPA, "spec/metrics/1/pods/target/averageValue"), "800m", SCALING),
    Change("autoscaling.source", "prometheus-adapter", at(HPA, "spec/metrics/0/pods/metric/name"),
           "vllm_num_requests_running", SCALING),
    Change("autoscaling.paused", True, at(HPA, "spec/behavior/scaleUp/selectPolicy"), "Disabled", SCALING),
    Change("autoscaling.idleSeconds", 60, at(SCALED, "spec/cooldownPeriod"), 60, KEDA),
    Change("autoscaling.keda.serverAddress", "https://other:9090",
           at(SCALED, "spec/triggers/0/metadata/serverAddress"), "https://other:9090", KEDA),
    Change("autoscaling.keda.authentication", "prom", at(SCALED, "spec/triggers/0/authenticationRef/name"), "prom",
           KEDA),
    Change("autoscaling.keda.triggers", [CRON], at(SCALED, "spec/triggers/1/type"), "cron", KEDA),
    Change("autoscaling.keda.pollingIntervalSeconds", 5, at(SCALED, "spec/pollingInterval"), 5, KEDA),
    Change("autoscaling.keda.fallback.failureThreshold", 7, at(SCALED, "spec/fallback/failureThreshold"), 7, FALLBACK),
    Change("autoscaling.keda.fallback.replicas", 3, at(SCALED, "spec/fallback/replicas"), 3, FALLBACK),
    Change("autoscaling.schedule[].minReplicas", 3, at(HPA, "spec/minReplicas"), 3, ALWAYS_OPEN),
    Change("autoscaling.schedule[].maxReplicas", 6, at(HPA, "spec/maxReplicas"), 6, ALWAYS_OPEN),
    Change("autoscaling.behavior.scaleUp.stabilizationWindowSeconds", 5,
           at(HPA, "spec/behavior/scaleUp/stabilizationWindowSeconds"), 5, UP),
    Change("autoscaling.behavior.scaleUp.selectPolicy", "Min", at(HPA, "spec/behavior/scaleUp/selectPolicy"), "Min",
           UP),
    Change("autoscaling.behavior.scaleUp.tolerance", "50m", at(HPA, "spec/behavior/scaleUp/tolerance"), "50m", UP),
    Change("autoscaling.behavior.scaleUp.policies[].type", "Percent",
           at(HPA, "spec/behavior/scaleUp/policies/0/type"), "Percent", UP),
    Change("autoscaling.behavior.scaleUp.policies[].value", 3,
           at(HPA, "spec/behavior/scaleUp/policies/0/value"), 3, UP),
    Change("autoscaling.behavior.scaleUp.policies[].periodSeconds", 90,
           at(HPA, "spec/behavior/scaleUp/policies/0/periodSeconds"), 90, UP),
    Change("autoscaling.behavior.scaleDown.stabilizationWindowSeconds", 5,
           at(HPA, "spec/behavior/scaleDown/stabilizationWindowSeconds"), 5, DOWN),
    Change("autoscaling.behavior.scaleDown.selectPolicy", "Min",
           at(HPA, "spec/behavior/scaleDown/selectPolicy"), "Min", DOWN),
    Change("autoscaling.behavior.scaleDown.tolerance", "50m", at(HPA, "spec/behavior/scaleDown/tolerance"), "50m",
           DOWN),
    Change("autoscaling.behavior.scaleDown.policies[].type", "Percent",
           at(HPA, "spec/behavior/scaleDown/policies/0/type"), "Percent", DOWN),
    Change("autoscaling.behavior.scaleDown.policies[].value", 3,
           at(HPA, "spec/behavior/scaleDown/policies/0/value"), 3, DOWN),
    Change("autoscaling.behavior.scaleDown.policies[].periodSeconds", 90,
           at(HPA, "spec/behavior/scaleDown/policies/0/periodSeconds"), 90, DOWN),
    Change("service.type", "NodePort", at("Service", "spec/type"), "NodePort"),
    Change("service.port", 8080, at("Service", "spec/ports/0/port"), 8080),
    Change("service.annotations", {"team": "ml"}, at("Service", "metadata/annotations/team"), "ml"),
    Change("service.labels", {"team": "ml"}, at("Service", "metadata/labels/team"), "ml"),
    Change("metadata.labels", {"team": "ml"}, at("Deployment", "metadata/labels/team"), "ml"),
    Change("metadata.annotations", {"team": "ml"}, at("Service", "metadata/annotations/team"), "ml"),
    Change("monitoring.labels", {"team": "ml"}, at("PodMonitor", "metadata/labels/team"), "ml"),
    Change("monitoring.scrape", "podMonitor", has_scrape_annotation, False),
    Change("monitoring.alerts.enabled", False, exists("PrometheusRule"), False),
    Change("monitoring.alerts.labels", {"team": "ml"}, alert("VLLMReplicaDown", "labels/team"), "ml"),
    Change("monitoring.alerts.p99LatencySeconds", 17, some_expression("> 17"), True),
    Change("monitoring.alerts.queueLength", 1717, some_expression("> 1717"), True),
    Change("monitoring.alerts.kvCacheUsage", 0.77, some_expression("> 0.77"), True),
    Change("monitoring.alerts.errorRatio", 0.17, some_expression("> 0.17"), True),
    *(Change(f"monitoring.slo.{name}.objective", 0.9375, any_rule("vector(0.9375)"), True, one_objective(name))
      for name in OBJECTIVES),
    *(Change(f"monitoring.slo.{name}.thresholdSeconds", 5, any_rule('le=~"5('), True, one_objective(name))
      for name in OBJECTIVES[1:]),
    Change("monitoring.slo.windowDays", 15, some_expression("> 0.072"), True, ONE_OBJECTIVE),
    Change("monitoring.slo.minRequests", 1717, some_expression(">= 1717"), True, ONE_OBJECTIVE),
    Change("monitoring.slo.alerts", False, some_expression("slo_errors"), False, ONE_OBJECTIVE),
    Change("monitoring.tracing.endpoint", "http://other:4317", flag("--otlp-traces-endpoint"), "http://other:4317",
           TRACED),
    Change("monitoring.tracing.serviceName", "chat", env("OTEL_SERVICE_NAME"), "chat", TRACED),
    Change("monitoring.tracing.sampleRatio", 0.25, env("OTEL_TRACES_SAMPLER_ARG"), "0.25", TRACED),
    Change("monitoring.tracing.detailed", ["model"], flag("--collect-detailed-traces"), "model", TRACED),
    Change("health.startupTimeoutSeconds", 600, container("startupProbe/failureThreshold"), 120),
    Change("rollout.maxSurge", 1, at("Deployment", "spec/strategy/rollingUpdate/maxSurge"), 1),
    Change("rollout.maxUnavailable", "50%", at("Deployment", "spec/strategy/rollingUpdate/maxUnavailable"), "50%"),
    Change("rollout.drainTimeoutSeconds", 300, flag("--shutdown-timeout"), "300"),
    Change("disruption.maxUnavailable", 2, at("PodDisruptionBudget", "spec/maxUnavailable"), 2, {"replicas": 3}),
    Change("podTemplate", {"metadata": {"labels": {"team": "ml"}}},
           at("Deployment", "spec/template/metadata/labels/team"), "ml"),
]  # fmt: skip

NODE_PORT = {"service": {"type": "NodePort"}}
LOAD_BALANCER = {"service": {"type": "LoadBalancer"}}
AFFINITY = {"service": {"spec": {"sessionAffinity": "ClientIP"}}}
SERVICE_SPEC = {
    "sessionAffinity": "ClientIP",
    "internalTrafficPolicy": "Local",
    "trafficDistribution": "PreferSameZone",
    "publishNotReadyAddresses": True,
}
LOAD_BALANCER_SPEC = {
    "loadBalancerSourceRanges": ["10.0.0.0/8"],
    "loadBalancerIP": "10.1.2.3",
    "allocateLoadBalancerNodePorts": False,
}


def service_spec(path: str, value: Any, base: Mapping[str, Any] | None = None) -> Change:
    """A change of a field of the Service's spec, under its own name."""
    return Change(f"service.spec.{path}", value, at("Service", f"spec/{path.replace('.', '/')}"), value, base or {})


SERVICE = (
    *(service_spec(path, value) for path, value in SERVICE_SPEC.items()),
    *(service_spec(path, value, LOAD_BALANCER) for path, value in LOAD_BALANCER_SPEC.items()),
    service_spec("externalTrafficPolicy", "Local", NODE_PORT),
    service_spec("sessionAffinityConfig.clientIP.timeoutSeconds", 60, AFFINITY),
)

CHANGES = (*MODEL, *ENGINE, *PLACEMENT, *OPERATIONS, *SERVICE)

ONE_VALUE = {
    "engine.env[].valueFrom.fieldRef.apiVersion",
    "monitoring.tracing.protocol",  # the endpoint changes with it
    "service.nodePort",
    "service.spec.ipFamilies",
    "service.spec.ipFamilyPolicy",
    "service.spec.loadBalancerClass",
}
"""Fields that have only one value yet, or whose value Kubernetes keeps when they are unset again."""

ELSEWHERE = {
    "autoscaling.fastPath": "test_fast_path_changes_no_child_at_rest",
    **dict.fromkeys(
        (f"autoscaling.schedule[].{name}" for name in ("timeZone", "start", "end", "durationSeconds")),
        "test_window_of_a_schedule_sets_the_bounds_while_it_is_open",
    ),
    "paused": "test_paused_leaves_the_children_alone_until_it_is_lifted",
    "health.probeIntervalSeconds": "test_probe_interval_sets_the_pace_of_probes",
    "health.restartStalled": "test_restart_stalled_deletes_the_pod_of_a_stalled_engine",
    "rollout.waitForIdle": "test_change_of_a_busy_replica_waits_until_it_is_idle",
    "rollout.waitForIdleSeconds": "test_change_of_a_busy_replica_waits_until_it_is_idle",
    "rollout.autoRollback": "test_auto_rollback_keeps_the_pods_that_served_in_the_deployment",
    "health.syntheticCompletion": "test_synthetic_completion_setting_decides_when_one_is_sent",
    "cache.size": "test_larger_cache_grows_its_claim_and_a_smaller_one_is_refused",
    "cache.storageClassName": "test_immutable_claim_field_is_refused_and_the_claim_stays",
    "cache.accessModes": "test_immutable_claim_field_is_refused_and_the_claim_stays",
}
"""Fields whose effect takes more than one look; the test that shows it."""
