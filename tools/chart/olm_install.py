"""Print the objects that the Operator Lifecycle Manager makes of the bundle, for a cluster without it.

    python -m tools.chart.olm_install --image REGISTRY/vllm-operator:TAG | kubectl apply --server-side -f -

The steps are those of OLM 0.38: `RBACForClusterServiceVersion` of its resolver for the accounts and their rights, and
`deploymentForSpec` of its installer for the Deployment. What needs OLM itself is left out: catalog, Subscription,
InstallPlan, OperatorCondition, and the objects in the status of a ClusterServiceVersion.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from tools.chart.olm import BUNDLE, NAMESPACE
from vllm_operator.install.manifests import to_yaml

Object = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
NAME_CHARACTERS = 63
"""Longest name that OLM generates."""
ALL_NAMESPACES = ""
"""Value of the annotation of target namespaces, for an operator of all namespaces."""


def installed(namespace: str, image: str = "") -> list[Object]:
    """Return the objects in the order in which OLM creates them.

    Args:
        namespace: that of the OperatorGroup.
        image: that of the operator in place of the one that the bundle names.
    """
    folder = BUNDLE / "manifests"
    version = yaml.safe_load((folder / "vllm-operator.clusterserviceversion.yaml").read_text())
    install = version["spec"]["install"]["spec"]
    owned = version["spec"]["customresourcedefinitions"]["owned"]
    return [
        *(yaml.safe_load((folder / f"{crd['name']}.crd.yaml").read_text()) for crd in owned),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        *_accounts(install, namespace),
        *_rights(version, install, namespace),
        *(_deployment(version, given, namespace, image) for given in install["deployments"]),
    ]


def _accounts(install: Object, namespace: str) -> Iterator[Object]:
    names = {given["serviceAccountName"] for given in (*install["permissions"], *install["clusterPermissions"])}
    for name in sorted(names):
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def _rights(version: Object, install: Object, namespace: str) -> Iterator[Object]:
    for kind, key in (("Role", "permissions"), ("ClusterRole", "clusterPermissions")):
        scope = {"namespace": namespace} if kind == "Role" else {}
        for given in install[key]:
            name = _generated(f"{version['metadata']['name']}-{given['serviceAccountName']}", given)
            metadata = {"name": name, **scope, "labels": _owner(version, namespace)}
            account = {"kind": "ServiceAccount", "name": given["serviceAccountName"], "namespace": namespace}
            reference = {"apiGroup": RBAC, "kind": kind, "name": name}
            named = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
            yield {**named, "kind": kind, "rules": given["rules"]}
            yield {**named, "kind": f"{kind}Binding", "roleRef": reference, "subjects": [account]}


def _deployment(version: Object, given: Object, namespace: str, image: str) -> Object:
    spec = copy.deepcopy(given["spec"])
    spec["revisionHistoryLimit"] = 1
    template = spec["template"]
    group = {
        "olm.operatorGroup": namespace,
        "olm.operatorNamespace": namespace,
        "olm.targetNamespaces": ALL_NAMESPACES,
    }
    template["metadata"]["annotations"] = (
        (template["metadata"].get("annotations") or {}) | version["metadata"]["annotations"] | group
    )
    for container in template["spec"]["containers"]:
        container["env"] = [
            *(container.get("env") or []),
            {"name": "OPERATOR_CONDITION_NAME", "value": version["metadata"]["name"]},
        ]
        named, image = container["image"], image or container["image"]
        container["image"] = image
        # The agent of a gateway has the image of the operator.
        container["args"] = [argument.replace(f"={named}", f"={image}") for argument in container["args"]]
    labels = {**given["label"], "olm.managed": "true", **_owner(version, namespace)}
    metadata = {"name": given["name"], "namespace": namespace, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _owner(version: Object, namespace: str) -> dict[str, str]:
    return {
        "olm.owner": version["metadata"]["name"],
        "olm.owner.namespace": namespace,
        "olm.owner.kind": "ClusterServiceVersion",
    }


def _generated(base: str, content: Object) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return f"{base[: NAME_CHARACTERS - len(digest) - 1]}-{digest}"


def main() -> int:
    """Print the objects; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.chart.olm_install", description=__doc__)
    parser.add_argument("--namespace", default=NAMESPACE, help="namespace of the operator (default: %(default)s)")
    parser.add_argument("--image", default="", help="image of the operator (default: that of the bundle)")
    arguments = parser.parse_args()
    sys.stdout.write(to_yaml(installed(arguments.namespace, arguments.image)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
