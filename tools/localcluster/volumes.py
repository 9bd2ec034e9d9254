"""Provision volumes: give each claim of the default StorageClass its own folder.

The controller manager's built-in host path provisioner would not do: its folders belong to root with mode
0750, and a hostPath volume ignores `fsGroup`, so that no pod which runs as another user could write. A volume
of type `local` honours `fsGroup`, as the volumes of real clusters do. All nodes share the host's disk, so
every volume may be used from every node (ReadWriteMany, too).
"""

import json
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

PROVISIONER = "vllm-operator.dev/folder"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
Manifest = dict[str, Any]


def wants_volume(claim: Manifest) -> bool:
    """Return whether the cluster waits for this provisioner to make a volume for the claim."""
    annotations = claim["metadata"].get("annotations", {})
    return (
        annotations.get("volume.kubernetes.io/storage-provisioner") == PROVISIONER
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
        and "volume.kubernetes.io/selected-node" in annotations
    )


def volume_for(claim: Manifest, folder: Path) -> Manifest:
    """Return the PersistentVolume that is bound to the claim; its name makes a second attempt a conflict."""
    meta = claim["metadata"]
    anywhere = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{meta['uid']}",
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim["spec"].get("storageClassName", ""),
            "volumeMode": "Filesystem",
            "local": {"path": str(folder / f"pvc-{meta['uid']}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": anywhere}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        },
    }


def is_released(volume: Manifest) -> bool:
    """Return whether a volume of this provisioner lost its claim and is to be deleted, by its reclaim policy."""
    annotations = volume["metadata"].get("annotations", {})
    return (
        annotations.get("pv.kubernetes.io/provisioned-by") == PROVISIONER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") in ("Released", "Failed")
        and "deletionTimestamp" not in volume["metadata"]
    )


@dataclass(frozen=True)
class Api:
    """As much of a Kubernetes client as this needs."""

    server: str
    context: ssl.SSLContext

    @classmethod
    def from_kubeconfig(cls, path: Path) -> "Api":
        """From a kubeconfig that names files (JSON, as this package writes it)."""
        config = json.loads(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        return cls(cluster["server"], context)

    def call(self, method: str, path: str, body: Manifest | None = None) -> Any:
        """One request; the parsed answer."""
        with self._open(method, path, body, timeout=30) as answer:
            return json.load(answer)

    def objects(self, path: str) -> Iterator[Manifest]:
        """All objects there, then each that is added or changed, until the server ends the watch."""
        listed = self.call("GET", path)
        yield from listed["items"]
        version = listed["metadata"]["resourceVersion"]
        with self._open("GET", f"{path}?watch=1&resourceVersion={version}", None, timeout=600) as answer:
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]

    def _open(self, method: str, path: str, body: Manifest | None, timeout: float) -> Any:
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json", "User-Agent": "volume-provisioner"},
        )
        return urllib.request.urlopen(request, context=self.context, timeout=timeout)


def provision(api: Api, folder: Path) -> None:
    """Give every claim that waits its volume, for as long as the watch lasts."""
    for claim in api.objects(CLAIMS):
        if wants_volume(claim):
            volume = volume_for(claim, folder)
            Path(volume["spec"]["local"]["path"]).mkdir(parents=True, exist_ok=True)
            try:
                api.call("POST", VOLUMES, volume)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise


def reclaim(api: Api, folder: Path) -> None:
    """Delete released volumes and what they hold, for as long as the watch lasts."""
    for volume in api.objects(VOLUMES):
        if is_released(volume):
            shutil.rmtree(folder / os.path.basename(volume["spec"]["local"]["path"]), ignore_errors=True)
            try:
                api.call("DELETE", f"{VOLUMES}/{volume['metadata']['name']}")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise


def main(kubeconfig: Path, folder: Path) -> None:
    """Provision and reclaim until the process ends; connect again after a lost connection."""

    def forever(work: Any) -> None:
        while True:
            try:
                work(Api.from_kubeconfig(kubeconfig), folder)
            except (OSError, ValueError) as error:
                print(f"{work.__name__}: {error}", flush=True)
                time.sleep(1)

    Thread(target=forever, args=(reclaim,), daemon=True).start()
    forever(provision)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
