"""Specs that the restricted mode of `podTemplate` allows and refuses: for the operator and for the API server."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

COMPLETE: Spec = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""A security context that nothing is merged under."""


def pod(**fields: Any) -> Spec:
    """Return a spec whose podTemplate has these fields of a pod."""
    return {"podTemplate": {"spec": fields}}


def vllm(**fields: Any) -> Spec:
    """Return a spec whose podTemplate changes the vLLM container."""
    return pod(containers=[{"name": "vllm", **fields}])


def sidecar(**fields: Any) -> Spec:
    """Return a spec whose podTemplate adds a container."""
    return pod(containers=[{"name": "proxy", "image": "proxy", "securityContext": COMPLETE, **fields}])


def init(**fields: Any) -> Spec:
    """Return a spec whose podTemplate adds an init container."""
    return pod(initContainers=[{"name": "fetch", "image": "fetch", "securityContext": COMPLETE, **fields}])


def volume(**source: Any) -> Spec:
    """Return a spec whose podTemplate adds a volume."""
    return pod(volumes=[{"name": "extra", **source}])


def container_context(**fields: Any) -> Spec:
    return {"security": {"containerSecurityContext": fields}}


def pod_context(**fields: Any) -> Spec:
    return {"security": {"podSecurityContext": fields}}


ALLOWED: dict[str, Spec] = {
    "nothing": {},
    "labels and annotations": {"podTemplate": {"metadata": {"labels": {"team": "ml"}, "annotations": {"a/b": "c"}}}},
    "empty template": {"podTemplate": {}},
    "scheduling": pod(
        schedulingGates=[{"name": "a.b/c"}], dnsPolicy="Default", hostAliases=[], shareProcessNamespace=True
    ),
    "no host namespaces": pod(hostNetwork=False, hostPID=False, hostIPC=False, hostUsers=False),
    "no token": pod(automountServiceAccountToken=False),
    "variables and mounts": vllm(
        env=[{"name": "A", "value": "b"}], volumeMounts=[{"name": "x", "mountPath": "/x"}], resources={}
    ),
    "probe by HTTP": vllm(livenessProbe={"httpGet": {"path": "/health", "port": "http"}}),
    "no liveness probe": vllm(livenessProbe=None, lifecycle=None),
    "sleep before stop": vllm(lifecycle={"preStop": {"sleep": {"seconds": 5}}}),
    "sidecar": sidecar(ports=[{"containerPort": 9000}]),
    "init container that stays": init(restartPolicy="Always"),
    "port without host port": sidecar(ports=[{"containerPort": 9000, "hostPort": 0}]),
    "volumes": pod(
        volumes=[
            {"name": "a", "emptyDir": {}},
            {"name": "b", "configMap": {"name": "b"}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d", "projected": {"sources": [{"configMap": {"name": "d"}}, {"downwardAPI": {}}]}},
        ]
    ),
    "other user": pod_context(runAsUser=2000, fsGroup=None, runAsNonRoot=True),
    "user of the image": pod_context(runAsUser=None),
    "read-only root": container_context(readOnlyRootFilesystem=True, privileged=False, procMount="Default"),
    "low ports": container_context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    "start of vLLM": {"engine": {"command": ["vllm", "serve"]}},
    "start of vLLM by its module": {"engine": {"command": ["python3", "-m", "vllm.entrypoints.openai.api_server"]}},
    "profile of the node": pod_context(seccompProfile={"type": "Localhost", "localhostProfile": "a.json"}),
}

REFUSED: dict[str, Spec] = {
    "service account": pod(serviceAccountName="deployer"),
    "service account by its old name": pod(serviceAccount="deployer"),
    "token": pod(automountServiceAccountToken=True),
    "token by removal of the default": pod(automountServiceAccountToken=None),
    "projected token": volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    "host network": pod(hostNetwork=True),
    "host processes": pod(hostPID=True),
    "host IPC": pod(hostIPC=True),
    "node": pod(nodeName="control-plane"),
    "host path": volume(hostPath={"path": "/"}),
    "host path in a known volume": pod(volumes=[{"name": "model-cache", "hostPath": {"path": "/"}}]),
    "volume of a CSI driver": volume(csi={"driver": "secrets-store.csi.k8s.io"}),
    "volume of a network file system": volume(nfs={"server": "10.0.0.1", "path": "/"}),
    "host port": sidecar(ports=[{"containerPort": 80, "hostPort": 80}]),
    "host port of vLLM": vllm(ports=[{"containerPort": 8000, "hostPort": 80}]),
    "privileged": vllm(securityContext={"privileged": True}),
    "privileged sidecar": sidecar(securityContext={**COMPLETE, "privileged": True}),
    "privileged init container": init(securityContext={**COMPLETE, "privileged": True}),
    "privileged by the spec": container_context(privileged=True),
    "capability": vllm(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
    "capability by the spec": container_context(capabilities={"add": ["SYS_ADMIN"]}),
    "capabilities kept": container_context(capabilities={"drop": []}),
    "capabilities by removal of the default": container_context(capabilities=None),
    "drop by removal of the default": container_context(capabilities={"drop": None}),
    "escalation": container_context(allowPrivilegeEscalation=True),
    "escalation by removal of the default": container_context(allowPrivilegeEscalation=None),
    "security context by removal of the default": vllm(securityContext=None),
    "security context of the pod by removal": pod(securityContext=None),
    "sidecar with the runtime's capabilities": sidecar(securityContext={"allowPrivilegeEscalation": False}),
    "sidecar without a security context": pod(containers=[{"name": "proxy", "image": "proxy"}]),
    "init container of vLLM's name": pod(initContainers=[{"name": "vllm", "image": "x"}]),
    "command": vllm(command=["sleep", "infinity"]),
    "command of a sidecar": sidecar(command=["sh"]),
    "command of an init container": init(command=["sh"]),
    "command by the spec": {"engine": {"command": ["sh", "-c", "id"]}},
    "command before the start of vLLM": {"engine": {"command": ["sh", "-c", "id; exec vllm serve"]}},
    "other command of vLLM": {"engine": {"command": ["vllm", "bench"]}},
    "arguments": vllm(args=["-c", "id"]),
    "arguments of a sidecar": sidecar(args=["-c", "id"]),
    "command before stop": vllm(lifecycle={"preStop": {"exec": {"command": ["id"]}}}),
    "command after start": vllm(lifecycle={"postStart": {"exec": {"command": ["id"]}}}),
    "command as a probe": vllm(readinessProbe={"exec": {"command": ["id"]}}),
    "command as a probe of a sidecar": sidecar(startupProbe={"exec": {"command": ["id"]}}),
    "probe of another host": vllm(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
    "hook to another host": vllm(lifecycle={"preStop": {"tcpSocket": {"host": "10.0.0.1", "port": 22}}}),
    "procMount": container_context(procMount="Unmasked"),
    "sysctls": pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
    "sysctls by the spec": pod_context(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "root": pod_context(runAsUser=0),
    "root in the container": container_context(runAsUser=0),
    "root in the template": vllm(securityContext={"runAsUser": 0}),
    "root of the image": pod_context(runAsNonRoot=False),
    "root of the image by removal": pod_context(runAsNonRoot=None),
    "no seccomp": pod_context(seccompProfile={"type": "Unconfined"}),
    "no seccomp by removal": pod_context(seccompProfile=None),
    "no AppArmor": container_context(appArmorProfile={"type": "Unconfined"}),
    "no AppArmor by an annotation": {
        "podTemplate": {
            "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/vllm": "unconfined"}}
        }
    },
    "SELinux user": pod_context(seLinuxOptions={"user": "system_u"}),
    "host process of Windows": pod_context(windowsOptions={"hostProcess": True}),
    "replaced pod": pod(**{"$patch": "replace", "containers": [{"name": "vllm", "image": "x"}]}),
    "replaced template": {"podTemplate": {"$patch": "replace", "spec": {"containers": [{"name": "vllm"}]}}},
    "replaced containers": pod(containers=[{"$patch": "replace"}, {"name": "vllm", "image": "x"}]),
    "replaced container": vllm(**{"$patch": "replace", "image": "x"}),
    "replaced security context": pod(securityContext={"$patch": "replace"}),
    "deleted security context": vllm(securityContext={"$patch": "delete"}),
    "field that is not known": pod(somethingNew=True),
    "containers that are no list": pod(containers={"name": "vllm"}),
}
