"""Random specs, generated from the schema of the CRD, so that a new field takes part by itself."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.helpers.random_specs.values import LOAD_BALANCER_FIELDS, VALUES
from vllm_operator.api.crd import model_schema
from vllm_operator.api.spec import Spec

Json = dict[str, Any]

SCHEMA: Json = model_schema(Spec)
RARELY = {"paused": 0.1, "podTemplate": 0.3, "version": 0.2, "cache": 0.5, "autoscaling": 0.4, "engine.extraArgs": 0.3}
"""Chance of a field that would hide much of the rest, or be refused with it."""


def schema_at(path: str) -> Json:
    """The schema of a field, of the whole spec for ""; `[]` is an item of a list."""
    node = SCHEMA
    for step in path.split(".") if path else ():
        node = node["properties"][step.removesuffix("[]")]
        node = node["items"] if step.endswith("[]") else node
    return node


def fields(node: Mapping[str, Any] = SCHEMA, path: str = "") -> Iterator[str]:
    """Paths of all fields at every depth, those of list items too."""
    for name, below in node.get("properties", {}).items():
        where = f"{path}{name}"
        yield where
        yield from fields(below, f"{where}.")
        if below.get("type") == "array" and below["items"].get("properties"):
            yield from fields(below["items"], f"{where}[].")


@dataclass(frozen=True)
class Generator:
    """Draws specs and values that the schema takes; rules between fields may still refuse them.

    Attributes:
        rng: where chance comes from.
        chance: of any optional field to be set.
    """

    rng: random.Random
    chance: float = 0.35

    def spec(self) -> Json:
        """A whole spec. What rules between two fields would refuse for certain is put right."""
        return self._consistent(self.value(""))

    def value(self, path: str) -> Any:
        """A value of the field at `path`."""
        if path in VALUES:
            return copy.deepcopy(VALUES[path](self.rng))
        node = schema_at(path)
        if "enum" in node:
            return self.rng.choice(node["enum"])
        match node.get("type"):
            case "object":
                return self._object(node, path)
            case "array":
                return self._array(node, path)
            case "boolean":
                return self.rng.random() < 0.5
            case "integer":
                return self._integer(node)
        raise LookupError(f"spec.{path}: nothing is known of its values: add it to VALUES")

    def _object(self, node: Mapping[str, Any], path: str) -> Json:
        required = node.get("required", ())
        prefix = f"{path}." if path else ""
        return {
            name: self.value(f"{prefix}{name}")
            for name in node["properties"]
            if name in required or self.rng.random() < RARELY.get(f"{prefix}{name}", self.chance)
        }

    def _array(self, node: Mapping[str, Any], path: str) -> list[Any]:
        items = [self.value(f"{path}[]") for _ in range(self.rng.randint(node.get("minItems", 0), 2))]
        keys = node.get("x-kubernetes-list-map-keys", ())
        by_identity = {tuple(item[key] for key in keys) if keys else place: item for place, item in enumerate(items)}
        return list(by_identity.values())

    def _integer(self, node: Mapping[str, Any]) -> int:
        low, high = node.get("minimum", 0), node.get("maximum", 1_000_000)
        return self.rng.choice((low, high, self.rng.randint(low, high), min(high, low + self.rng.randint(1, 9))))

    def _consistent(self, spec: Json) -> Json:
        cache = spec.get("cache")
        if cache is not None:
            spec["cache"] = self._cache(cache)
        self._shareable(spec)
        if "service" in spec:
            self._reachable(spec["service"])
        rollout = spec.get("rollout", {})
        if rollout.get("maxUnavailable") == 0 and rollout.get("maxSurge", 0) in (0, "0%"):
            rollout["maxSurge"] = 1
        if spec.get("engine", {}).get("enableAutoToolChoice"):
            spec["engine"].setdefault("toolCallParser", self.value("engine.toolCallParser"))
        return spec

    def _cache(self, cache: Json) -> Json:
        """A new claim, one that is there, or another volume."""
        if "volume" in cache:
            return {"volume": cache["volume"]}
        if self.rng.random() < 0.3:
            return {"existingClaim": self.value("cache.existingClaim")}
        kept = {name: value for name, value in cache.items() if name != "existingClaim"}
        return {**kept, "size": self.value("cache.size")}

    def _reachable(self, service: Json) -> None:
        """Node ports and load balancers go with a type of Service that has them."""
        details = service.get("spec", {})
        if any(name in details for name in LOAD_BALANCER_FIELDS):
            service["type"] = "LoadBalancer"
        elif service.get("type", "ClusterIP") == "ClusterIP" and (
            "nodePort" in service or "externalTrafficPolicy" in details
        ):
            service["type"] = "NodePort"

    def _shareable(self, spec: Json) -> None:
        """A claim for one node goes with one replica."""
        scaling = spec.get("autoscaling")
        if scaling is not None:
            scaling["minReplicas"] = min(scaling.get("minReplicas", 1), scaling["maxReplicas"])
        most = scaling["maxReplicas"] if scaling else spec.get("replicas", 1)
        modes = spec.get("cache", {}).get("accessModes")
        if most > 1 and modes and "ReadWriteMany" not in modes:
            spec["cache"]["accessModes"] = ["ReadWriteMany"]
