"""The servers of these tests: a tiny model on one node, on CPUs unless a test asks for devices."""

from __future__ import annotations

from tests.e2e.states.nodes import SERVING
from tools.harness.kube import KIND, Object
from tools.localcluster import settings

IMAGE = settings.VLLM_IMAGE
ON_NODE = {"kubernetes.io/hostname": SERVING}


def server(name: str, **spec: object) -> Object:
    """A server; `spec` wins over what stands here, and `engine` is merged."""
    engine = {"maxModelLen": 512, "enforceEager": True}
    own: Object = {
        "model": {"uri": "file:///models/tiny"},
        "image": IMAGE,
        "accelerator": {"resourceName": ""},
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
        "sharedMemory": "256Mi",
        "scheduling": {"nodeSelector": ON_NODE},
        "rollout": {"drainTimeoutSeconds": 5},
        "monitoring": {"alerts": {"enabled": False}},
        **spec,
    }
    own["engine"] = engine | dict(own.get("engine") or {})
    return {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": KIND, "metadata": {"name": name}, "spec": own}
