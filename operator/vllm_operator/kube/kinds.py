"""List the kinds that the operator reads and writes, with their URLs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from vllm_operator.api.names import GATEWAY_KIND, GATEWAY_PLURAL, GROUP, KIND, PLURAL, VERSION


@dataclass(frozen=True)
class Kind:
    """A namespaced kind.

    Attributes:
        name: its name in CamelCase.
        group: its API group; empty for the core group.
        version: its version.
        plural: its name in URLs.
        optional: whether its CRD may be missing.
    """

    name: str
    group: str
    version: str
    plural: str
    optional: bool = False

    @property
    def api_version(self) -> str:
        """Return `group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, of one object, or of its subresource."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        parts += ["namespaces", namespace] if namespace else []
        # A name comes from the user: it must not lead to another object.
        return "/".join([*parts, self.plural, *[quote(part, safe="") for part in (name, subresource) if part]])


SERVER = Kind(KIND, GROUP, VERSION, PLURAL)
GATEWAY = Kind(GATEWAY_KIND, GROUP, VERSION, GATEWAY_PLURAL)
ENDPOINT_SLICE = Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
POD = Kind("Pod", "", "v1", "pods")
SECRET = Kind("Secret", "", "v1", "secrets")
CLAIM = Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
NAMESPACE = Kind("Namespace", "", "v1", "namespaces")
"""It has no namespace itself: its path is that of a name without one."""
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
EVENT = Kind("Event", "", "v1", "events")
CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
CLUSTER_ROLE = Kind("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles")
API_SERVICE = Kind("APIService", "apiregistration.k8s.io", "v1", "apiservices")
ACCESS_REVIEW = Kind("SubjectAccessReview", "authorization.k8s.io", "v1", "subjectaccessreviews")
"""The last three have no namespace."""

MONITORING_API = "monitoring.coreos.com/v1"
POD_MONITOR = "PodMonitor"
PROMETHEUS_RULE = "PrometheusRule"
SCALED_OBJECT = "ScaledObject"
"""Kind of KEDA."""
MONITORING_KINDS = frozenset({POD_MONITOR, PROMETHEUS_RULE})
"""Kinds of prometheus-operator, which this operator uses where their CRDs are installed."""

CHILD_KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        CLAIM,
        Kind("Service", "", "v1", "services"),
        DEPLOYMENT,
        Kind("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers"),
        Kind(SCALED_OBJECT, "keda.sh", "v1alpha1", "scaledobjects", optional=True),
        Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
        Kind(POD_MONITOR, "monitoring.coreos.com", "v1", "podmonitors", optional=True),
        Kind(PROMETHEUS_RULE, "monitoring.coreos.com", "v1", "prometheusrules", optional=True),
    )
}
"""Kinds of children by name. A server has at most one child of each."""

GATEWAY_CHILD_KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("ServiceAccount", "", "v1", "serviceaccounts"),
        Kind("Role", "rbac.authorization.k8s.io", "v1", "roles"),
        Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
        Kind("ConfigMap", "", "v1", "configmaps"),
        CHILD_KINDS["Service"],
        DEPLOYMENT,
        CHILD_KINDS["PodDisruptionBudget"],
        Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    )
}
"""Kinds of the children of a gateway."""

HTTP_ROUTE = Kind("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes", optional=True)
INFERENCE_POOL = Kind("InferencePool", "inference.networking.k8s.io", "v1", "inferencepools", optional=True)
EXPOSURE_KINDS: dict[str, Kind] = {kind.name: kind for kind in (HTTP_ROUTE, INFERENCE_POOL)}
"""Kinds of Gateway API that lead to a gateway, by name."""

KINDS_WITHOUT_READ_STATUS = frozenset({"Service", "PodDisruptionBudget", "PodMonitor", "PrometheusRule"})
"""Children whose status the operator does not read: one that still matches its manifest needs no reconcile."""

PRUNED_KINDS = tuple(kind for kind in CHILD_KINDS.values() if kind.name not in {"Deployment", "Service"})
"""Kinds that a spec may stop to ask for. Every server has a Deployment and a Service of fixed names, so the operator
never deletes one, and has no right to."""

OPTIONAL_KINDS = tuple(kind for kind in CHILD_KINDS.values() if kind.optional)
WATCHED_KINDS = (SERVER, POD, *CHILD_KINDS.values())
"""Kinds that the operator lists and watches."""
