"""Values of the chart next to the options of `manifests` that ask for the same, and values that only the chart has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vllm_operator.install.manifests import (
    CLUSTER_OBJECTS,
    NARROW_RIGHTS,
    NO_MONITORING,
    MonitoringOptions,
    RightsOptions,
    operator_manifests,
)

Object = dict[str, Any]

NAMESPACE = "vllm-operator-system"
RUNBOOKS = "https://wiki.example/runbooks/%s.html?a=%20b"


@dataclass(frozen=True)
class Install:
    """One way to install the operator, for both.

    Attributes:
        values: those of the chart.
        served, monitoring, rights: those of `manifests`.
        only_in_namespace: leave out the cluster-wide objects, as `--without-cluster-objects` does.
    """

    values: Object = field(default_factory=dict)
    served: tuple[str, ...] = ()
    monitoring: MonitoringOptions = NO_MONITORING
    rights: RightsOptions = NARROW_RIGHTS
    only_in_namespace: bool = False

    def manifests(self, image: str) -> list[Object]:
        """Return the objects that `manifests` prints, without the Namespace, which Helm creates."""
        found = operator_manifests(image, NAMESPACE, self.served, self.monitoring, self.rights)
        left_out = CLUSTER_OBJECTS if self.only_in_namespace else {"Namespace"}
        return [body for body in found if body["kind"] not in left_out]


INSTALLS: dict[str, Install] = {
    "default": Install(),
    "served": Install({"servedNamespaces": ["team-a", "team-b"]}, served=("team-a", "team-b")),
    "own-namespace": Install(
        {"servedNamespaces": [NAMESPACE], "crds": {"enabled": False}, "admissionPolicy": {"enabled": False}},
        served=(NAMESPACE,),
        only_in_namespace=True,
    ),
    "free": Install({"podTemplate": "free", "secrets": "all"}, rights=RightsOptions("free", "all")),
    "free-pod-templates": Install({"podTemplate": "free"}, rights=RightsOptions("free", "labelled")),
    "all-secrets": Install({"secrets": "all"}, rights=RightsOptions("restricted", "all")),
    "no-metrics-api": Install({"metricsAPI": {"enabled": False}}, rights=RightsOptions(metrics_api=False)),
    "no-restarts": Install({"restartStalled": False}, rights=RightsOptions(restart_stalled=False)),
    "gateways": Install({"gateways": {"enabled": True}}, rights=RightsOptions(gateways=True)),
    "gateways-of-some": Install(
        {"gateways": {"enabled": True}, "servedNamespaces": ["team-a"], "networkPolicy": {"enabled": True}},
        served=("team-a",),
        rights=RightsOptions(gateways=True, network_policies=True),
    ),
    "network-policy": Install(
        {"networkPolicy": {"enabled": True}},
        rights=RightsOptions(network_policies=True),
    ),
    "network-policy-of-some": Install(
        {"networkPolicy": {"enabled": True, "metricsFrom": ["prom", "mimir"]}, "servedNamespaces": ["team-a"]},
        served=("team-a",),
        rights=RightsOptions(network_policies=True, metrics_from=("prom", "mimir")),
    ),
    "monitoring": Install(
        {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
        monitoring=MonitoringOptions(True, True),
    ),
    "runbooks": Install(
        {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "runbookUrl": RUNBOOKS},
        monitoring=MonitoringOptions(True, True, RUNBOOKS),
    ),
    "server-metrics": Install({"serverMetrics": {"enabled": True}}, monitoring=MonitoringOptions(server_metrics=True)),
    "dashboards": Install({"dashboards": {"enabled": True}}, monitoring=MonitoringOptions(dashboards=True)),
    "everything": Install(
        {
            "servedNamespaces": ["team-a"],
            "secrets": "all",
            "restartStalled": False,
            "networkPolicy": {"enabled": True},
            "podMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "runbookUrl": RUNBOOKS,
        },
        served=("team-a",),
        monitoring=MonitoringOptions(True, True, RUNBOOKS),
        rights=RightsOptions("restricted", "all", False, True),
    ),
}

ONLY_CHART: dict[str, Object] = {
    "high-availability": {
        "replicas": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
        "priorityClassName": "system-cluster-critical",
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
            {
                "maxSkew": 2,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "other"}},
            },
        ],
    },
    "process": {
        "logLevel": "debug",
        "logFormat": "text",
        "workers": 8,
        "serverMetrics": {"enabled": True, "limit": 20},
        "leaderElection": {"namespace": "leases"},
        "metricsAPI": {"port": 6443},
        "gateways": {"enabled": True, "envoyImage": "registry.example:5000/envoy:v1.40.0"},
        "extraArgs": ["--listen=:8080"],
        "extraEnv": [
            {"name": "TZ", "value": "UTC"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "extraEnvFrom": [{"configMapRef": {"name": "settings", "optional": True}}],
        "extraVolumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    },
    "pod": {
        "image": {
            "repository": "registry.example:5000/team/vllm-operator",
            "digest": f"sha256:{'0123456789abcdef' * 4}",
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "platform", "app.kubernetes.io/name": "mine"},
        "podAnnotations": {"example.org/note": "yes"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
                }
            }
        },
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": 2, "memory": "1Gi"}},
        "terminationGracePeriodSeconds": 60,
        "revisionHistoryLimit": 2,
        "openshift": True,
    },
    "names": {
        "fullnameOverride": "models",
        "commonLabels": {"team": "platform"},
        "commonAnnotations": {"example.org/owner": "platform"},
        "serviceAccount": {"name": "models-account", "annotations": {"example.org/role": "arn:aws:iam::1:role/x"}},
        "crds": {"keep": False, "annotations": {"example.org/crd": "yes"}},
        "service": {"annotations": {}},
        "podMonitor": {"enabled": True, "interval": "1m30s", "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "rbac": {"aggregateToDefaultRoles": True},
        "kubeStateMetrics": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "rights-by-others": {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "given"},
        "leaderElection": {"enabled": False},
    },
}
"""Values for which `manifests` has no option."""

VALUES: dict[str, Object] = {**{name: install.values for name, install in INSTALLS.items()}, **ONLY_CHART}
