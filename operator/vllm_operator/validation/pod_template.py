"""The restricted mode of `podTemplate`: who may create a VLLMServer gets a vLLM pod, and no other rights.

The resulting pod meets the restricted Pod Security Standard, has no token of a service account, uses nothing of its
node, and starts what its images start. `install/admission_policy.py` makes CEL of the same tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from vllm_operator.api.names import CONTAINER, GROUP
from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.validation.allowed_fields import (
    ANYTHING,
    Each,
    Fields,
    Includes,
    Node,
    NoKeyWith,
    NotRoot,
    OneOf,
    Only,
    Violation,
    violations,
)
from vllm_operator.vllm.image_families import VLLM_SERVE

VLLM_MODULE = "vllm.entrypoints.openai.api_server"
"""The module of vLLM's API server, which older images start by name."""

NAMESPACE_LABEL = f"{GROUP}/pod-template"
FREE = "free"
RESTRICTED = "restricted"

REMEDY = f"remove it, or let an administrator label the namespace {NAMESPACE_LABEL}={FREE}"
MAX_PROBLEMS = 8
"""Problems that are reported at once: a spec may hold thousands, and a status has a size."""


def _any_of(names: str) -> dict[str, Node]:
    return dict.fromkeys(names.split(), ANYTHING)


_PROFILE = Fields({"type": Only(("RuntimeDefault", "Localhost")), "localhostProfile": ANYTHING}, required=("type",))
_SELINUX = Fields(
    {
        "level": ANYTHING,
        "type": Only(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")),
    }
)
_BOTH_CONTEXTS: dict[str, Node] = {
    "runAsNonRoot": Only((True,)),
    "runAsUser": NotRoot(),
    "runAsGroup": ANYTHING,
    "seccompProfile": _PROFILE,
    "appArmorProfile": _PROFILE,
    "seLinuxOptions": _SELINUX,
}
_DEFAULTS = ("runAsNonRoot", "seccompProfile")
"""Settings of the operator that null would remove."""

POD_SECURITY_CONTEXT = Fields(
    {
        **_BOTH_CONTEXTS,
        **_any_of("fsGroup fsGroupChangePolicy supplementalGroups supplementalGroupsPolicy seLinuxChangePolicy"),
    },
    kept=_DEFAULTS,
)
"""Allowed fields of a pod's security context: no sysctls, no Windows options."""

_CAPABILITIES: dict[str, Node] = {"add": Each(Only(("NET_BIND_SERVICE",))), "drop": Includes("ALL")}
_CONTEXT: dict[str, Node] = {
    **_BOTH_CONTEXTS,
    "allowPrivilegeEscalation": Only((False,)),
    "capabilities": Fields(_CAPABILITIES, kept=("drop",)),
    "privileged": Only((False,)),
    "procMount": Only(("Default",)),
    "readOnlyRootFilesystem": ANYTHING,
}
CONTAINER_SECURITY_CONTEXT = Fields(_CONTEXT, kept=(*_DEFAULTS, "allowPrivilegeEscalation", "capabilities"))
"""Allowed fields of the vLLM container's security context, which is merged over a restricted one."""

_COMPLETE_CONTEXT = Fields(
    {**_CONTEXT, "capabilities": Fields(_CAPABILITIES, required=("drop",))},
    required=("allowPrivilegeEscalation", "capabilities"),
)
"""The same for other containers, which nothing is merged under."""

_NO_HOST = Fields(forbidden=("host",))
"""A kubelet's request to another host would come from the node's network."""
_HANDLER = Fields({"httpGet": _NO_HOST, "tcpSocket": _NO_HOST}, forbidden=("exec",))
_CONTAINER: dict[str, Node] = {
    **_any_of(
        "name image imagePullPolicy env envFrom resources resizePolicy volumeMounts volumeDevices workingDir stdin "
        "stdinOnce tty terminationMessagePath terminationMessagePolicy restartPolicy restartPolicyRules"
    ),
    "ports": Each(Fields({**_any_of("name containerPort protocol hostIP"), "hostPort": Only((0,))})),
    "startupProbe": _HANDLER,
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "lifecycle": Fields({"preStop": _HANDLER, "postStart": _HANDLER, "stopSignal": ANYTHING}),
    "securityContext": CONTAINER_SECURITY_CONTEXT,
}
_OTHER_CONTAINER = Fields({**_CONTAINER, "securityContext": _COMPLETE_CONTEXT}, required=("securityContext",))

_VOLUMES = Each(
    Fields(
        {
            **_any_of("name configMap downwardAPI emptyDir ephemeral image persistentVolumeClaim secret"),
            "projected": Fields(
                {
                    "defaultMode": ANYTHING,
                    "sources": Each(Fields(_any_of("clusterTrustBundle configMap downwardAPI secret"))),
                }
            ),
        }
    )
)

_POD = Fields(
    {
        **_any_of(
            "activeDeadlineSeconds affinity dnsConfig dnsPolicy enableServiceLinks hostAliases hostname hostUsers "
            "imagePullSecrets nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates "
            "resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates setHostnameAsFQDN "
            "shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints"
        ),
        "automountServiceAccountToken": Only((False,)),
        "hostNetwork": Only((False,)),
        "hostPID": Only((False,)),
        "hostIPC": Only((False,)),
        "securityContext": POD_SECURITY_CONTEXT,
        "containers": Each(_OTHER_CONTAINER, CONTAINER, Fields(_CONTAINER, kept=("securityContext",))),
        "initContainers": Each(_OTHER_CONTAINER),
        "volumes": _VOLUMES,
    },
    kept=("automountServiceAccountToken", "securityContext"),
)
POD_TEMPLATE = Fields(
    {
        "metadata": Fields(
            {"labels": ANYTHING, "annotations": NoKeyWith("container.apparmor.security.beta.kubernetes.io/")}
        ),
        "spec": _POD,
    },
    kept=("spec",),
)
"""Allowed fields of `spec.podTemplate`."""

STARTS_OF_VLLM = OneOf((VLLM_SERVE, *((python, "-m", VLLM_MODULE) for python in ("python3", "python"))))
"""Commands that start vLLM's API server and nothing else. `engine.command` may hold them in the restricted mode."""

CACHE_VOLUME = Fields(_any_of("emptyDir ephemeral"))
"""Allowed sources of `spec.cache.volume`: nothing of the node, and no storage but that of claims."""

JUDGED: dict[str, Node] = {
    "cache.volume": CACHE_VOLUME,
    "podTemplate": POD_TEMPLATE,
    "engine.command": STARTS_OF_VLLM,
    "security.podSecurityContext": POD_SECURITY_CONTEXT,
    "security.containerSecurityContext": CONTAINER_SECURITY_CONTEXT,
}
"""The open fields of the spec that reach the pod, and what each may hold."""


def restricted_problems(spec: Spec) -> tuple[Problem, ...]:
    """Return the parts of a spec that the restricted mode refuses, the first few of them."""
    return tuple(
        Problem("PodTemplateRestricted", f"{violation.path}: {violation.rule}: {REMEDY}")
        for violation in islice(chain.from_iterable(_violations(spec)), MAX_PROBLEMS)
    )


def _violations(spec: Spec) -> Iterator[Iterator[Violation]]:
    values = {
        "cache.volume": spec.cache.volume if spec.cache else None,
        "podTemplate": spec.pod_template,
        "engine.command": spec.engine.command,
        "security.podSecurityContext": spec.security.pod_security_context,
        "security.containerSecurityContext": spec.security.container_security_context,
    }
    for path, node in JUDGED.items():
        if values[path] is not None:
            yield violations(node, values[path], f"spec.{path}")
