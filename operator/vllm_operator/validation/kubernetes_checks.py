"""Refuse what Kubernetes would refuse in a child, by the field of the spec and before a child is written.

The schema of the CRD checks single fields; these are the rules between fields, and those for the keys of maps. They
follow `pkg/apis/core/validation/validation.go`. The open parts (podTemplate, affinity, security contexts, the source
of cache.volume) are left to Kubernetes.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from vllm_operator.api.core import Toleration, TopologySpreadConstraint
from vllm_operator.api.fields import QUALIFIED
from vllm_operator.api.names import GROUP, recommended_labels, selector_labels
from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.kube.quantity import parse_quantity

STANDARD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
ANNOTATIONS_BYTES = 200 * 1024
"""Bytes that the annotations of the Service may have; Kubernetes allows 256 KiB, and the operator adds its own."""

RESERVED_DOMAINS = frozenset(
    {
        GROUP,
        "autoscaling.alpha.kubernetes.io",
        "deployment.kubernetes.io",
        "kubectl.kubernetes.io",
        "pv.kubernetes.io",
        "volume.beta.kubernetes.io",
        "volume.kubernetes.io",
    }
)
"""Domains of annotations that the operator, kubectl and Kubernetes' controllers write on children."""

VOLUME_SOURCES: list[str] = re.findall(
    r"\w+",
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi emptyDir ephemeral fc flexVolume flocker "
    "gcePersistentDisk glusterfs hostPath iscsi nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO "
    "storageos vsphereVolume",
)
"""Sources of core/v1 Volume that a container can write to."""

DIVISORS = {
    "cpu": {"1", "1m"},
    "": {"1", *(f"1{unit}" for unit in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
}
"""Divisors of the downward API: those of CPU, and those of all other resources."""

_QUALIFIED = re.compile(QUALIFIED)
_HUGE_PAGES = re.compile(r"hugepages-[0-9]+[KMG]i")


def keys_are_qualified_names(spec: Spec) -> Iterator[Problem]:
    """Refuse invalid keys of labels and annotations."""
    maps: dict[str, Mapping[str, str]] = {
        "scheduling.nodeSelector": spec.scheduling.node_selector,
        "metadata.labels": spec.metadata.labels,
        "metadata.annotations": {key.lower(): value for key, value in spec.metadata.annotations.items()},
        "monitoring.labels": spec.monitoring.labels,
        "service.labels": spec.service.labels,
        "service.annotations": {key.lower(): value for key, value in spec.service.annotations.items()},
    }
    for path, keys in maps.items():
        for key in keys:
            if not _is_qualified(key):
                yield _invalid(
                    path, f'"{key[:80]}" is not a valid key: use letters, digits, -, _ and ., at most 63 characters'
                )


def _is_qualified(key: str) -> bool:
    domain, slash, _ = key.rpartition("/")
    return bool(_QUALIFIED.fullmatch(key)) and (not slash or len(domain) <= 253)


def annotations_fit(spec: Spec) -> Iterator[Problem]:
    """Refuse annotations that are too large together: those of all children, and with those of the Service."""
    common, service = _size(spec.metadata.annotations), _size(spec.service.annotations)
    path = "metadata.annotations" if common > service else "service.annotations"
    if common + service > ANNOTATIONS_BYTES:
        yield _invalid(path, f"{common + service} bytes are more than the {ANNOTATIONS_BYTES} that fit: shorten them")


def _size(annotations: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


def metadata_is_not_reserved(spec: Spec) -> Iterator[Problem]:
    """Refuse labels and annotations of the children that the operator or Kubernetes' controllers set."""
    own = recommended_labels("x")
    for key in (*spec.metadata.labels, *spec.monitoring.labels):
        if key in own:
            path = "metadata.labels" if key in spec.metadata.labels else "monitoring.labels"
            yield _invalid(f"{path}[{key}]", "the operator sets this label: remove it")
    for key in spec.metadata.annotations:
        if key.rpartition("/")[0].lower() in RESERVED_DOMAINS:
            yield _invalid(
                f"metadata.annotations[{key[:80]}]", "the operator or Kubernetes sets this annotation: remove it"
            )


def source_ranges_are_networks(spec: Spec) -> Iterator[Problem]:
    """Refuse source ranges of the load balancer that are no CIDR."""
    details = spec.service.spec
    for position, text in enumerate((details.load_balancer_source_ranges if details else None) or ()):
        try:
            ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            yield _invalid(
                f"service.spec.loadBalancerSourceRanges[{position}]",
                f'"{text}" is no range of addresses: write it as CIDR, such as 10.0.0.0/8',
            )


def ip_families_fit(spec: Spec) -> Iterator[Problem]:
    """Refuse one family twice, and two families of a Service with one."""
    details = spec.service.spec
    families = (details.ip_families if details else None) or []
    if len(set(families)) < len(families):
        yield _invalid("service.spec.ipFamilies", f"{families[0]} is listed twice: remove one")
    elif details and len(families) > 1 and details.ip_family_policy == "SingleStack":
        yield _invalid(
            "service.spec.ipFamilies", "two families need ipFamilyPolicy: PreferDualStack or RequireDualStack: set it"
        )


def resources_are_valid(spec: Spec) -> Iterator[Problem]:
    """Refuse unknown resources, requests above limits, and numbers of devices that are not whole or not equal."""
    limits, requests = spec.resources.limits, spec.resources.requests
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if error := _resource_error(name, amount):
                yield _invalid(f"resources.{field}[{name[:80]}]", error)
    for name, amount in requests.items():
        yield from _within_limit(name, amount, limits.get(name))
    huge = [name for name in limits if _HUGE_PAGES.fullmatch(name)]
    if huge and not {"cpu", "memory"} & {*limits, *requests}:
        yield _invalid("resources.limits", f"{huge[0]} needs cpu or memory too: add one of them")


def _resource_error(name: str, amount: Any) -> str:
    if name in STANDARD_RESOURCES or _HUGE_PAGES.fullmatch(name):
        return ""
    domain, slash, _ = name.partition("/")
    if not slash or not _is_qualified(name) or len(domain) > 200:
        return "is not a resource: use cpu, memory, ephemeral-storage or a name with a domain, such as nvidia.com/gpu"
    if domain.endswith("kubernetes.io") or domain.startswith("requests."):
        return "is reserved by Kubernetes: name a resource of a device plugin"
    number = parse_quantity(amount)
    return "" if number is not None and number == int(number) else "must be a whole number"


def _within_limit(name: str, amount: Any, limit: Any) -> Iterator[Problem]:
    asked, most = parse_quantity(amount), parse_quantity(limit)
    overcommits = name in STANDARD_RESOURCES
    if limit is None and not overcommits:
        yield _invalid(
            f"resources.requests[{name[:80]}]",
            "needs an equal limit, since Kubernetes does not overcommit this resource: add it",
        )
    if asked is None or most is None:
        return
    if asked > most or (asked != most and not overcommits):
        yield _invalid(f"resources.requests[{name[:80]}]", f"{amount} does not fit the limit {limit}: make them equal")


def accelerator_is_a_resource(spec: Spec) -> Iterator[Problem]:
    """Refuse an accelerator that is not a resource; its name is also the key of a toleration."""
    name = spec.accelerator.resource_name
    if name and (error := _resource_error(name, 1)):
        yield _invalid("accelerator.resourceName", f"{name[:80]} {error}")


def resource_claims_exist_in_pod(spec: Spec) -> Iterator[Problem]:
    """Refuse a resource claim of the container that its pod does not have."""
    template = spec.pod_template or {}
    pod = template.get("spec")
    listed = pod.get("resourceClaims") if isinstance(pod, dict) else None
    names = [item.get("name") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    for claim in spec.resources.claims:
        if claim.name not in names:
            yield _invalid(
                "resources.claims", f"the pod has no claim {claim.name}: add it to podTemplate.spec.resourceClaims"
            )


def tolerations_are_consistent(spec: Spec) -> Iterator[Problem]:
    """Refuse tolerations whose key, operator, value, effect and seconds do not fit together."""
    for position, toleration in enumerate(spec.scheduling.tolerations):
        if error := _toleration_error(toleration):
            yield _invalid(f"scheduling.tolerations[{position}]", error)


def _toleration_error(one: Toleration) -> str:
    if not one.key and one.operator != "Exists":
        return "without a key, operator must be Exists, which tolerates every taint"
    if one.operator == "Exists" and one.value:
        return "operator Exists takes no value: remove it"
    if one.toleration_seconds is not None and one.effect != "NoExecute":
        return "tolerationSeconds needs effect: NoExecute"
    if one.operator in {"Lt", "Gt"} and not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", one.value or ""):
        return f"operator {one.operator} needs a whole number as value"
    return ""


def constraints_differ(spec: Spec) -> Iterator[Problem]:
    """Refuse constraints with the same key and action, and fields that need another field."""
    constraints = spec.scheduling.topology_spread_constraints or []
    pairs = Counter((one.topology_key, one.when_unsatisfiable) for one in constraints)
    for position, one in enumerate(constraints):
        if pairs[one.topology_key, one.when_unsatisfiable] > 1:
            yield _invalid(
                _constraint_path(position),
                f"{one.topology_key} is there twice with the same whenUnsatisfiable: keep one of the two",
            )
        if one.min_domains is not None and one.when_unsatisfiable != "DoNotSchedule":
            yield _invalid(_constraint_path(position), "minDomains needs whenUnsatisfiable: DoNotSchedule")
        if twice := _repeated_key(one):
            yield _invalid(_constraint_path(position), f"{twice} is matched twice: remove it from matchLabelKeys")


def _constraint_path(position: int) -> str:
    return f"scheduling.topologySpreadConstraints[{position}]"


def _repeated_key(one: TopologySpreadConstraint) -> str:
    keys = one.match_label_keys or []
    labels = one.label_selector.get("matchLabels") if one.label_selector is not None else selector_labels("x")
    selected = labels if isinstance(labels, Mapping) else {}
    return next((key for key in keys if key in selected or keys.count(key) > 1), "")


def cache_can_be_claimed(spec: Spec) -> Iterator[Problem]:
    """Refuse an invalid size and invalid access modes of a new claim."""
    cache = spec.cache
    if cache is None or cache.size is None:
        return
    if not parse_quantity(cache.size):
        yield _invalid("cache.size", "must be more than 0")
    if cache.access_modes and "ReadWriteOncePod" in cache.access_modes and len(set(cache.access_modes)) > 1:
        yield _invalid("cache.accessModes", "ReadWriteOncePod excludes other modes: choose one")


def cache_volume_has_one_source(spec: Spec) -> Iterator[Problem]:
    """Refuse a volume of the cache with no source or several, and a claim, whose existence another field checks."""
    volume = spec.cache.volume if spec.cache else None
    if volume is None:
        return
    sources = sorted(volume)
    if len(sources) != 1 or not isinstance(volume[sources[0]], dict):
        shown = ", ".join(name[:80] for name in sources[:8]) or "none"
        yield _invalid("cache.volume", f"needs one source of a volume, such as hostPath: {{path: /x}}, not {shown}")
    elif sources == ["persistentVolumeClaim"]:
        yield _invalid("cache.volume", "name a claim by cache.existingClaim instead")
    elif sources[0] not in VOLUME_SOURCES:
        near = get_close_matches(sources[0][:80], VOLUME_SOURCES, n=1)
        yield _invalid(
            f"cache.volume.{sources[0][:80]}", f"is no source of a volume{f': write {near[0]}' if near else ''}"
        )


def divisors_are_allowed(spec: Spec) -> Iterator[Problem]:
    """Refuse divisors that the downward API does not have."""
    for variable in spec.engine.env:
        source = variable.value_from.resource_field_ref if variable.value_from else None
        if source is None or source.divisor is None:
            continue
        allowed = DIVISORS["cpu" if source.resource.endswith(".cpu") else ""]
        if str(source.divisor) not in {*allowed, "0"}:
            yield _invalid(
                f"engine.env[{variable.name}].valueFrom.resourceFieldRef.divisor",
                f"{source.divisor} is not allowed for {source.resource}: use {', '.join(sorted(allowed))}",
            )


def variables_have_one_source(spec: Spec) -> Iterator[Problem]:
    """Refuse a `valueFrom` that has no source or several."""
    for variable in spec.engine.env:
        if variable.value_from is None:
            continue
        sources = variable.value_from.model_dump(exclude_none=True)
        if len(sources) != 1:
            yield _invalid(f"engine.env[{variable.name}].valueFrom", f"has {len(sources)} sources: keep exactly one")


def _invalid(path: str, error: str) -> Problem:
    return Problem("InvalidSpec", f"spec.{path}: {error}")


CHECKS = (
    keys_are_qualified_names,
    annotations_fit,
    metadata_is_not_reserved,
    source_ranges_are_networks,
    ip_families_fit,
    resources_are_valid,
    accelerator_is_a_resource,
    resource_claims_exist_in_pod,
    tolerations_are_consistent,
    constraints_differ,
    cache_can_be_claimed,
    cache_volume_has_one_source,
    divisors_are_allowed,
    variables_have_one_source,
)
