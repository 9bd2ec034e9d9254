"""Changes that users make while the operator is killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.servers import Servers, child_name, manifest
from tools.harness.kube import KIND, Object

Step = Callable[[Servers], object]

CACHE: Object = {"size": "1Gi", "accessModes": ["ReadWriteMany"]}
AT_ONCE: Object = {"maxUnavailable": "100%"}
"""No pod ever starts here: any other rollout would stop half way, at a point that depends on who was faster."""

FULL: Object = {"replicas": 2, "cache": CACHE, "rollout": AT_ONCE}
SCALED: Object = {**FULL, "autoscaling": {"minReplicas": 1, "maxReplicas": 4}}


@dataclass(frozen=True)
class Scenario:
    """Steps of a user, each taken when the one before has been carried out.

    Attributes:
        name: what it is called in the test.
        setup: steps before the operator is in danger.
        steps: steps during which it is killed.
    """

    name: str
    setup: tuple[Step, ...]
    steps: tuple[Step, ...]


def _create(name: str, spec: Object) -> Step:
    return lambda servers: servers.create(name, spec, settled=False)


def _change(name: str, spec: Object) -> Step:
    return lambda servers: servers.patch(name, spec, settled=False)


def _again(name: str, spec: Object) -> Step:
    """Delete a server and make another of its name at once, without waiting for anything."""

    def step(servers: Servers) -> None:
        servers.kube.delete(KIND, name, servers.namespace)
        servers.kube.create(manifest(name, spec), servers.namespace)

    return step


def _swap(first: str, second: str, specs: tuple[Object, Object]) -> Step:
    """Delete both and make them again with each other's specs."""

    def step(servers: Servers) -> None:
        for name in (first, second):
            servers.kube.delete(KIND, name, servers.namespace)
        for name, spec in zip((first, second), reversed(specs), strict=True):
            servers.kube.create(manifest(name, spec), servers.namespace)

    return step


def _volume(server: str) -> Step:
    """A volume for the server's cache that can grow: only then does the API server take another size."""

    def step(servers: Servers) -> None:
        volume = f"volume-{servers.namespace}"
        claim = {"namespace": servers.namespace, "name": child_name("PersistentVolumeClaim", server)}
        spec = {
            "storageClassName": GROWS,
            "capacity": {"storage": "1Gi"},
            "accessModes": CACHE["accessModes"],
            "claimRef": claim,
            "hostPath": {"path": "/unused"},
        }
        kind = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}}
        servers.kube.apply({**STORAGE_CLASS, "metadata": {"name": GROWS}})
        servers.kube.create({**kind, "spec": spec})

    return step


def _crowd(server: str) -> Step:
    """Edits that add to children, as `kubectl edit` writes them: what the manifest lacks, an apply alone leaves."""

    def add(service: Object) -> None:
        service["spec"]["ports"].append({"name": "extra", "port": 9})

    def pause(deployment: Object) -> None:
        deployment["spec"]["paused"] = True

    def step(servers: Servers) -> None:
        servers.kube.replace("Service", server, servers.namespace, add)
        servers.kube.replace("Deployment", server, servers.namespace, pause)

    return step


GROWS = "grows"
STORAGE_CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "provisioner": "example.com/none",
    "allowVolumeExpansion": True,
}
EVERY_CHILD: Object = {
    "engine": {"maxModelLen": 2048},
    "service": {"port": 8080},
    "cache": {"size": "2Gi"},
    "autoscaling": {"maxReplicas": 6},
    "disruption": {"maxUnavailable": 2},
    "monitoring": {"alerts": {"queueLength": 7}},
    "health": {"probeIntervalSeconds": 30},
}
SMALL: Object = {"replicas": 1, "service": {"port": 81}, "rollout": AT_ONCE}
DROPPED_CACHE: Object = {"cache": {**CACHE, "retain": False}, "rollout": AT_ONCE}

SCENARIOS = (
    Scenario("create", (), (_create("made", SCALED),)),
    Scenario(
        "change every child",
        (_volume("changed"), _create("changed", {**SCALED, "cache": {**CACHE, "storageClassName": GROWS}})),
        (_change("changed", EVERY_CHILD),),
    ),
    Scenario(
        "autoscaling on and off",
        (_create("scaled", FULL),),
        (
            _change("scaled", {"autoscaling": {"minReplicas": 1, "maxReplicas": 4}}),
            _change("scaled", {"autoscaling": None}),
        ),
    ),
    Scenario(
        "cache kept and removed",
        (_create("keeps", FULL), _create("drops", DROPPED_CACHE)),
        (_change("keeps", {"cache": None}), _change("drops", {"cache": None})),
    ),
    Scenario(
        "pause and resume",
        (_create("paused", FULL),),
        (
            _change("paused", {"paused": True}),
            _change("paused", {"engine": {"maxModelLen": 2048}, "replicas": 3}),
            _change("paused", {"paused": False}),
        ),
    ),
    Scenario(
        "delete and recreate",
        (_create("again", {**SCALED, **DROPPED_CACHE}),),
        (_again("again", {**FULL, "engine": {"maxModelLen": 2048}}),),
    ),
    Scenario("edits that add", (_create("edited", SMALL),), (_crowd("edited"),)),
    Scenario(
        "swap names",
        (_create("left", FULL), _create("right", SMALL)),
        (_swap("left", "right", (FULL, SMALL)),),
    ),
)
