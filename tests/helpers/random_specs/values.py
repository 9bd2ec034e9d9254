"""Values that Kubernetes and vLLM accept in fields whose schema alone does not define them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

Choose = Callable[[random.Random], Any]

SECRETS = ("hf", "keys", "registry")
"""Secrets that the tests create, each with the keys `token` and `other`."""

CLAIMS = ("models", "more")
"""Claims that the tests create: ReadWriteMany."""

WORDS = ("ml", "blue", "a-b", "x.y_z", "7", "TRUE", "null", "on")
KEYS = ("team", "example.org/pool", "tier", "example.org/owner.name")


def one_of(*values: Any) -> Choose:
    return lambda rng: rng.choice(values)


def some_of(values: Sequence[Any], most: int = 2, fewest: int = 0) -> Choose:
    return lambda rng: rng.sample(list(values), rng.randint(fewest, most))


def a_map(keys: Sequence[str] = KEYS, values: Sequence[Any] = WORDS, most: int = 2) -> Choose:
    return lambda rng: {key: rng.choice(values) for key in rng.sample(list(keys), rng.randint(0, most))}


def _toleration(rng: random.Random) -> dict[str, Any]:
    """Kubernetes has rules over the fields of one: seconds go with NoExecute, a value not with Exists."""
    result: dict[str, Any] = {"key": rng.choice(KEYS)}
    if rng.random() < 0.5:
        result["operator"] = "Exists"
    else:
        result |= {"value": rng.choice(WORDS), **rng.choice(({"operator": "Equal"}, {}))}
    if rng.random() < 0.4:
        return {**result, "effect": "NoExecute", "tolerationSeconds": rng.choice((0, 60, 3600))}
    return {**result, **rng.choice(({}, {"effect": "NoSchedule"}, {"effect": "PreferNoSchedule"}))}


def _constraints(rng: random.Random) -> list[dict[str, Any]]:
    """Two of the same key and action would be refused, and so would minDomains without DoNotSchedule."""
    found = []
    for key in rng.sample(["zone", "rack", "kubernetes.io/hostname"], rng.randint(0, 2)):
        item: dict[str, Any] = {"topologyKey": key, "maxSkew": rng.randint(1, 3)}
        item["whenUnsatisfiable"] = rng.choice(("DoNotSchedule", "ScheduleAnyway"))
        if item["whenUnsatisfiable"] == "DoNotSchedule" and rng.random() < 0.5:
            item["minDomains"] = rng.randint(1, 4)
        optional = {
            "labelSelector": {"matchLabels": {"app": rng.choice(("a", "b"))}},
            "matchLabelKeys": ["pod-template-hash"],
            "nodeAffinityPolicy": rng.choice(("Honor", "Ignore")),
            "nodeTaintsPolicy": rng.choice(("Honor", "Ignore")),
        }
        found.append(item | {name: value for name, value in optional.items() if rng.random() < 0.3})
    return found


SOURCES: tuple[Choose, ...] = (
    lambda rng: {
        "secretKeyRef": {"name": rng.choice(SECRETS), "key": rng.choice(("token", "other"))}
        | rng.choice(({}, {"optional": True}, {"optional": False}))
    },
    lambda rng: {"configMapKeyRef": {"name": "settings", "key": rng.choice(("a", "b"))}},
    lambda rng: {"fieldRef": {"fieldPath": rng.choice(("metadata.name", "status.podIP", "spec.nodeName"))}},
    lambda rng: {
        "resourceFieldRef": {"resource": rng.choice(("limits.cpu", "requests.memory")), "divisor": rng.choice((1, "1"))}
        | rng.choice(({}, {"containerName": "vllm"}))
    },
)


def _variables(rng: random.Random) -> list[dict[str, Any]]:
    names = rng.sample(["VLLM_LOGGING_LEVEL", "HF_HOME", "A", "b_2", "NCCL_DEBUG"], rng.randint(0, 3))
    return [
        {"name": name, "value": rng.choice(("", "1", "on", "$(A)/x", "two words"))}
        if rng.random() < 0.6
        else {"name": name, "valueFrom": rng.choice(SOURCES)(rng)}
        for name in names
    ]


AFFINITIES: tuple[Any, ...] = (
    {},
    {"nodeAffinity": {}},
    {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "noisy"}}}]}},
    {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference": {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a", "b"]}]}}]}},
)  # fmt: skip

TEMPLATES: tuple[Any, ...] = (
    {},
    {"metadata": {"labels": {"team": "ml"}}},
    {"metadata": {"annotations": {"example.org/reviewed": "yes"}}},
    {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub.local"]}]}},
    {"spec": {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "gpus"},
                                 {"name": "more", "resourceClaimTemplateName": "more"}]}},
    {"spec": {"containers": [{"name": "proxy", "image": "registry.example/proxy:1", "ports": [{"containerPort": 9}]}]}},
    {"spec": {"containers": [{"name": "vllm", "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}],
              "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}]}},
    {"spec": {"initContainers": [{"name": "first", "image": "registry.example/first:1", "command": ["true"]}]}},
    {"spec": {"hostIPC": True, "containers": [{"name": "vllm", "workingDir": "/cache"}]}},
)  # fmt: skip

# Every flag here is one that no typed field has, unless a conflict is wanted.
EXTRA_ARGS = (
    ("--enable-log-requests",),
    ("--seed", "7"),
    ("--max-logprobs=5",),
    ("--limit-mm-per-prompt.image=2",),
    ("--disable-log-stats",),
    ("--max-model-len=4096",),
    ("-tp", "2"),
    ("--max_num_seqs", "64"),
    ("--served-model-name", "a", "b"),
    ("--no-enable-prefix-caching",),
    ("--max-num-seqs=8",),
    ("--enable-log-request",),
)

REFUSED_ARGS = (("--port=9000",), ("--max-model-length=5",), ("--seed=seven",), ("--api-key", "x"), ("stray",))
"""Arguments that the operator refuses by name."""


def _extra_args(rng: random.Random) -> list[str]:
    groups = rng.sample(list(EXTRA_ARGS), rng.randint(0, 2))
    if rng.random() < 0.1:
        groups.append(rng.choice(REFUSED_ARGS))
    return [item for group in groups for item in group]


def _windows(rng: random.Random) -> list[dict[str, Any]]:
    """Windows that can be read; their bounds may not fit those outside of them."""
    windows = []
    for _ in range(rng.randint(0, 2)):
        window: dict[str, Any] = {"start": rng.choice(["0 8 * * 1-5", "30 22 * * *", "0 0 29 2 *"])}
        window |= rng.choice([{"end": "15 18 * * *"}, {"durationSeconds": 3600}])
        window |= rng.choice([{}, {"timeZone": "Europe/Berlin"}, {"timeZone": "Asia/Kolkata"}])
        windows.append(window | rng.choice([{"minReplicas": 2}, {"maxReplicas": 3}, {"minReplicas": 0}]))
    return windows


def _policies(rng: random.Random) -> list[dict[str, Any]]:
    types = rng.sample(["Pods", "Percent"], rng.randint(1, 2))
    return [{"type": kind, "value": rng.randint(1, 5), "periodSeconds": rng.choice((15, 60, 1800))} for kind in types]


def _limits(rng: random.Random) -> dict[str, Any]:
    return {"cpu": rng.choice((8, "16", "8000m")), **rng.choice(({}, {"memory": "64Gi"}, {"memory": "65536Mi"}))}


INSIDE: dict[str, Choose] = {
    "engine.env[].name": one_of("A", "b_2", "NEW"),
    "engine.env[].value": one_of("2", "off", ""),
    "engine.env[].valueFrom.secretKeyRef.name": one_of(*SECRETS),
    "engine.env[].valueFrom.secretKeyRef.key": one_of("token", "other", "absent"),
    "engine.env[].valueFrom.configMapKeyRef.name": one_of("settings", "more"),
    "engine.env[].valueFrom.configMapKeyRef.key": one_of("a", "b"),
    "engine.env[].valueFrom.fieldRef.fieldPath": one_of("metadata.namespace", "status.hostIP"),
    "engine.env[].valueFrom.fieldRef.apiVersion": one_of("v1"),
    "engine.env[].valueFrom.resourceFieldRef.resource": one_of("limits.memory", "requests.cpu"),
    "engine.env[].valueFrom.resourceFieldRef.containerName": one_of("vllm"),
    "engine.env[].valueFrom.resourceFieldRef.divisor": one_of("1m", "1"),
    "resources.claims[].name": one_of("gpus", "more"),
    "resources.claims[].request": one_of("big", "small"),
    "scheduling.tolerations[].key": one_of(*KEYS),
    "scheduling.tolerations[].value": one_of(*WORDS),
    "scheduling.tolerations[].operator": one_of("Exists", "Equal"),
    "scheduling.tolerations[].tolerationSeconds": one_of(0, 60, 300),
    "scheduling.topologySpreadConstraints[].topologyKey": one_of("zone", "rack", "row"),
    "scheduling.topologySpreadConstraints[].labelSelector": one_of({}, {"matchLabels": {"app": "c"}}),
    "scheduling.topologySpreadConstraints[].matchLabelKeys": one_of([], ["pod-template-hash"], ["tier"]),
    "scheduling.topologySpreadConstraints[].maxSkew": one_of(1, 4),
    "scheduling.topologySpreadConstraints[].minDomains": one_of(1, 5),
}
"""The same for what stands in the items of lists that are drawn as a whole."""


LOAD_BALANCER_FIELDS = (
    "loadBalancerClass", "loadBalancerSourceRanges", "loadBalancerIP", "allocateLoadBalancerNodePorts",
)  # fmt: skip
"""Fields of the Service's spec that a load balancer alone may have."""

SERVICE: dict[str, Choose] = {
    # The last one is refused by the API server.
    "service.nodePort": lambda rng: rng.choice((*(rng.randint(30_000, 32_767) for _ in range(4)), 80)),
    # The API server of the tests has IPv4 alone: IPv6 is refused, and so is RequireDualStack.
    "service.spec.ipFamilies": one_of(["IPv4"], ["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv4", "IPv4"]),
    "service.spec.ipFamilyPolicy": one_of("SingleStack", "PreferDualStack", "RequireDualStack"),
    "service.spec.trafficDistribution": one_of("PreferClose", "PreferSameZone", "PreferSameNode", "Nearest"),
    "service.spec.loadBalancerClass": one_of("example.org/internal", "service.k8s.aws/nlb", "internal"),
    "service.spec.loadBalancerSourceRanges": some_of(("10.0.0.0/8", "192.168.0.0/24", "fd00::/8"), 3),
    "service.spec.loadBalancerSourceRanges[]": one_of("10.0.0.0/8", "192.168.0.7/24", "fd00::/8", "10.0.0.1", "all"),
    "service.spec.loadBalancerIP": one_of("10.1.2.3", "fd00::5", ""),
}


def _service_spec(rng: random.Random) -> dict[str, Any]:
    """Fields that fit every type of Service, and sometimes those of a load balancer."""
    fields = {
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": rng.choice((1, 600, 86_400))}},
        "internalTrafficPolicy": rng.choice(("Cluster", "Local")),
        "trafficDistribution": "PreferClose",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "publishNotReadyAddresses": rng.random() < 0.5,
    }
    found = {name: value for name, value in fields.items() if rng.random() < 0.4}
    if rng.random() < 0.3:
        balancer = {
            "loadBalancerClass": SERVICE["service.spec.loadBalancerClass"](rng),
            "loadBalancerSourceRanges": SERVICE["service.spec.loadBalancerSourceRanges"](rng),
            "loadBalancerIP": "10.1.2.3",
            "allocateLoadBalancerNodePorts": rng.random() < 0.5,
            "externalTrafficPolicy": rng.choice(("Cluster", "Local")),
        }
        found |= {name: value for name, value in balancer.items() if rng.random() < 0.4}
    return found | ({"sessionAffinity": "ClientIP"} if "sessionAffinityConfig" in found else {})


VALUES: dict[str, Choose] = {
    "model.uri": one_of(
        "hf://tiny-org/tiny", "hf://tiny-org/other", "tiny-org/third", "file:///models/tiny", "pvc://models/tiny",
        "pvc://more",
    ),
    "model.revision": one_of("main", "v2", "-dash", ""),
    "model.servedNames": some_of(("tiny", "a/b", "mine: all", "größe"), 3, 1),
    "model.tokenSecretRef.name": one_of(*SECRETS),
    "model.tokenSecretRef.key": one_of("token", "other"),
    "image": one_of(
        "vllm/vllm-openai:v0.32.0", "vllm/vllm-openai:v0.31.0", "vllm/vllm-openai:v0.25.1", "vllm/vllm-openai:v0.14.1",
        "registry.example/vllm:custom",
    ),
    "version": one_of("0.32.0", "v0.31.0", "0.25", "0.18.1", "unknown"),
    "imagePullSecrets[].name": one_of(*SECRETS),
    "engine.quantization": one_of("fp8", "awq", ""),
    "engine.dtype": one_of("auto", "bfloat16", "float16"),
    "engine.kvCacheDtype": one_of("auto", "fp8"),
    "engine.loadFormat": one_of("auto", "safetensors", "dummy"),
    "engine.chatTemplate": one_of("/templates/chat.jinja", "{% for m in messages %}{{ m.content }}\n{% endfor %}", ""),
    "engine.toolCallParser": one_of("hermes", "mistral"),
    "engine.reasoningParser": one_of("deepseek_r1", "qwen3"),
    "engine.speculativeConfig": one_of({"method": "ngram", "num_speculative_tokens": 4}, {"model": "a/b"}, {}),
    "engine.gpuMemoryUtilization": one_of(0.5, 0.9, 0.875, 1),
    "engine.tensorParallelSize": one_of(1, 2, 4),
    "engine.pipelineParallelSize": one_of(1, 2),
    "engine.dataParallelSize": one_of(1, 2, 3),
    "engine.maxNumSeqs": one_of(51, 128, 256, 1_000_000, 8),
    "engine.command": one_of(["vllm", "serve"], ["python3", "-m", "vllm.entrypoints.openai.api_server"]),
    "engine.extraArgs": _extra_args,
    "engine.env": _variables,
    "metadata.labels": a_map(),
    "metadata.annotations": a_map(),
    "monitoring.labels": a_map(),
    "service.spec": _service_spec,
    "replicas": one_of(0, 1, 1, 2, 2, 3),
    "accelerator.resourceName": one_of("", "nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.10gb"),
    "accelerator.count": one_of(0, 1, 8),
    "accelerator.product": one_of("NVIDIA-L4", "A_100.x", ""),
    "resources.limits": _limits,
    "resources.requests": one_of({}, {"cpu": "500m"}, {"cpu": 2, "memory": "1Gi"}, {"memory": "1024Mi"}),
    "resources.claims": some_of(({"name": "gpus"}, {"name": "more"}, {"name": "gpus", "request": "big"}), 1),
    "sharedMemory": one_of("16Gi", "2Gi", "2048Mi", "500M", 1_000_000_000),
    "scheduling.nodeSelector": a_map(),
    "scheduling.tolerations[]": _toleration,
    "scheduling.affinity": one_of(*AFFINITIES),
    "scheduling.topologySpreadConstraints": _constraints,
    "scheduling.priorityClassName": one_of("", "high", "low"),
    "scheduling.runtimeClassName": one_of("", "nvidia", "kata"),
    "scheduling.schedulerName": one_of("", "gang", "other"),
    "cache.size": one_of("1Gi", "1024Mi", "2Gi", "10Gi"),
    "cache.existingClaim": one_of(*CLAIMS),
    "cache.volume": one_of(
        {"hostPath": {"path": "/mnt/models"}}, {"nfs": {"server": "nas", "path": "/"}},
        {"emptyDir": {"sizeLimit": "1Gi"}}, {"hostPath": {"path": "/m", "type": "Directory"}},
        # Kubernetes refuses the first of these, the operator the others.
        {"nfs": {"server": "nas"}}, {"hostpath": {"path": "/m"}}, {},
    ),
    "cache.storageClassName": one_of("fast", "slow", ""),
    "cache.accessModes": one_of(
        ["ReadWriteOnce"], ["ReadWriteMany"], ["ReadWriteMany"], ["ReadWriteOnce", "ReadWriteMany"],
        ["ReadWriteOncePod"],
    ),
    "autoscaling.minReplicas": one_of(1, 1, 2, 3),
    "autoscaling.maxReplicas": one_of(1, 3, 4, 10_000),
    "autoscaling.targetRunningRequests": one_of(1, 50, 100),
    "autoscaling.targetKVCacheUsage": one_of(0.001, 0.5, 0.8, 1),
    "autoscaling.schedule": _windows,
    "autoscaling.schedule[].start": one_of("0 8 * * 1-5", "30 6 * * *"),
    "autoscaling.schedule[].end": one_of("0 18 * * 1-5", "15 20 * * *"),
    "autoscaling.schedule[].timeZone": one_of("Europe/Berlin", "Etc/UTC"),
    "autoscaling.keda.serverAddress": one_of("http://prometheus:9090", "https://prometheus.monitoring.svc:9090"),
    "autoscaling.keda.authentication": one_of("prometheus", "other"),
    "autoscaling.keda.triggers": one_of(
        [], [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}]
    ),
    "autoscaling.behavior.scaleUp.policies": _policies,
    "autoscaling.behavior.scaleDown.policies": _policies,
    "autoscaling.behavior.scaleUp.tolerance": one_of("50m", "0.1", 1),
    "autoscaling.behavior.scaleDown.tolerance": one_of("50m", "100m", 0),
    "service.annotations": a_map(values=(*WORDS, "{{ x }}", "two\nlines", "")),
    "service.labels": a_map(),
    "monitoring.alerts.labels": a_map(("team", "severity", "page_to"), (*WORDS, "{{ $labels.pod }}")),
    "monitoring.alerts.p99LatencySeconds": one_of(0.5, 17, 30, 86_400),
    "monitoring.alerts.kvCacheUsage": one_of(0.5, 0.77, 1),
    "monitoring.alerts.errorRatio": one_of(0.001, 0.17, 1),
    "monitoring.slo.availability.objective": one_of(0.999, 0.9, 0.5),
    "monitoring.slo.timeToFirstToken.objective": one_of(0.99, 0.95),
    "monitoring.slo.timeToFirstToken.thresholdSeconds": one_of(1, 2.5, 0.25),
    "monitoring.slo.timePerOutputToken.objective": one_of(0.99, 0.95),
    "monitoring.slo.timePerOutputToken.thresholdSeconds": one_of(0.1, 0.05, 1),
    "monitoring.slo.latency.objective": one_of(0.99, 0.95),
    "monitoring.slo.latency.thresholdSeconds": one_of(30, 2.5, 1),
    "monitoring.tracing.endpoint": one_of("http://collector:4317", "https://collector.observability:4318/v1/traces"),
    "monitoring.tracing.serviceName": one_of("chat", ""),
    "monitoring.tracing.sampleRatio": one_of(0, 0.25, 1),
    "rollout.maxSurge": one_of(0, 1, "25%", "0%", "100%", "1%"),
    "rollout.maxUnavailable": one_of(1, 2, "50%", "100%", "100%", 0),
    "disruption.maxUnavailable": one_of(0, 1, 2, "34%", "100%"),
    "security.apiKeySecretRef.name": one_of(*SECRETS),
    "security.apiKeySecretRef.key": one_of("token", "other"),
    "security.podSecurityContext": one_of({}, {"runAsUser": 2000}, {"fsGroup": None}, {"supplementalGroups": [1, 2]}),
    "security.containerSecurityContext": one_of(
        {}, {"readOnlyRootFilesystem": True}, {"capabilities": {"add": ["IPC_LOCK"]}}, {"capabilities": None}
    ),
    "podTemplate": one_of(*TEMPLATES),
    **INSIDE,
    **SERVICE,
}  # fmt: skip
"""Path of a field, `[]` being an item of a list -> a value that is taken there, by itself at least."""
