"""Row 1: Kubernetes cannot start the pod."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.e2e.states import nodes
from tests.e2e.states.case import Expected
from tests.e2e.states.conftest import REGISTRY_PASSWORD, Begin
from tests.e2e.states.registry import USER
from tests.e2e.states.servers import IMAGE, ON_NODE, server
from tools.harness.kube import Object
from tools.localcluster import settings

GROUP = 1


def test_no_node_with_a_free_gpu(begin: Begin) -> None:
    case = begin("no-gpu")
    body = server("no-gpu", accelerator={"resourceName": nodes.GPU, "count": 1})
    case.suffers(GROUP, "no node with a free GPU", lambda: case.applies(body))
    case.shows(
        Expected(
            "Scheduling", "RollingOut", ("Scheduling", "InsufficientGPU"),
            r"^0/1 replicas serve; no-gpu-\S+: no node with a free nvidia.com/gpu \(0/2 nodes\)$",
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    case.heals(lambda: nodes.add_gpus(case.kube, 1))
    nodes.remove_gpus(case.kube)


def test_node_selector_that_matches_none(begin: Begin) -> None:
    case = begin("no-node")
    body = server("no-node", scheduling={"nodeSelector": {**ON_NODE, "disk": "nvme"}})
    case.suffers(GROUP, "a node selector that matches none", lambda: case.applies(body))
    case.shows(
        Expected(
            "Scheduling", "RollingOut", ("Scheduling", "Unschedulable"),
            r"^0/1 replicas serve; no-node-\S+: 0/2 nodes are available: 2 node\(s\) didn't match Pod's node affinity",
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    case.heals(lambda: case.kube.kubectl("label", "node", nodes.SERVING, "disk=nvme"))
    case.kube.kubectl("label", "node", nodes.SERVING, "disk-")


def test_claim_that_stays_pending(begin: Begin, tmp_path: Path) -> None:
    case = begin("no-volume")
    cache = {"size": "1Gi", "storageClassName": "without-provisioner", "retain": False}
    case.suffers(GROUP, "a PVC that stays Pending", lambda: case.applies(server("no-volume", cache=cache)))
    case.shows(
        Expected(
            "Scheduling", "RollingOut", ("Scheduling", "VolumeNotBound"),
            r"^0/1 replicas serve; no-volume-\S+: claim no-volume-cache is not bound: storageclass.storage.k8s.io "
            r'"without-provisioner" not found; correct cache.storageClassName or cache.size, or repair storage class '
            r"without-provisioner$",
            conditions=("CacheReady=False:ProvisioningFailed",),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    tmp_path.chmod(0o777)
    volume = _volume("states-by-hand", "without-provisioner", tmp_path)
    case.heals(lambda: case.kube.create(volume))
    case.kube.kubectl("delete", "pv", "states-by-hand", "--wait=false")


def test_image_that_does_not_exist(begin: Begin, registry: str) -> None:
    case = begin("no-image")
    image = f"{registry}/public/vllm-cpu:no-such-tag"
    body = server("no-image", image=image, version=settings.VLLM)
    case.suffers(GROUP, "an image that does not exist", lambda: case.applies(body))
    case.shows(
        Expected(
            "Failed", "Stuck", ("Pulling", "ImagePullBackOff"),
            rf"^0/1 replicas serve; no-image-\S+: .*{image}.*: not found$",
            stalled=True, conditions=("Progressing=False:Stuck",),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    case.heals(lambda: case.changes({"image": IMAGE, "version": None}))


def test_pull_secret_that_is_wrong(begin: Begin, registry: str) -> None:
    case = begin("no-password")
    case.kube.create(_pull_secret(registry, "a-wrong-password"), case.namespace)
    body = server(
        "no-password", image=f"{registry}/private/vllm-cpu:latest", version=settings.VLLM,
        imagePullSecrets=[{"name": "registry"}],
    )  # fmt: skip
    case.suffers(GROUP, "a pull secret that is wrong", lambda: case.applies(body))
    case.shows(
        Expected(
            "Failed", "Stuck", ("Pulling", "ImagePullBackOff"),
            r"^0/1 replicas serve; no-password-\S+: .*(401|authorization failed)",
            stalled=True, conditions=("Progressing=False:Stuck",),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    right = {"data": _pull_secret(registry, REGISTRY_PASSWORD)["data"]}
    case.heals(lambda: case.kube.patch("Secret", "registry", case.namespace, right))


def _pull_secret(registry: str, password: str) -> Object:
    text = json.dumps({"auths": {registry: {"username": USER, "password": password}}})
    data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}, "data": data,
        "type": "kubernetes.io/dockerconfigjson",
    }  # fmt: skip


def _volume(name: str, storage_class: str, folder: Path) -> Object:
    """A volume that someone made by hand, in a folder of this machine."""
    anywhere = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}]
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": storage_class,
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": anywhere}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
