"""The bundle of the Operator Lifecycle Manager: the objects of `manifests` as one ClusterServiceVersion.

A bundle cannot hold a ValidatingAdmissionPolicy: the operator itself then judges pod templates, by the same rules.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tools.chart.kustomize import CONFIG, HEAD, IMAGE
from tools.localcluster.settings import REPOSITORY
from vllm_operator import __version__
from vllm_operator.api.crd import crd
from vllm_operator.api.gateway_crd import gateway_crd
from vllm_operator.api.names import VERSION
from vllm_operator.install.manifests import RightsOptions, operator_manifests, to_yaml

Object = dict[str, Any]

BUNDLE = CONFIG / "olm"
NAMESPACE = "vllm-operator-system"
MIN_KUBERNETES = "1.30.0"
NO_METRICS_API = RightsOptions(metrics_api=False, gateways=True)
"""The lifecycle manager names the ClusterRoles itself, so that none could own what the operator registers. A bundle
takes no options, so it holds the gateways."""
DESCRIPTION = """\
The operator turns one VLLMServer into a served model: Deployment with GPUs, Service, model cache, autoscaler,
disruption budget, and monitoring. It probes each replica over HTTP, and its status names the cause of a problem and the
remedy.
"""


def bundle_files() -> dict[Path, str]:
    """Return the generated files of the bundle with their content."""
    folder = BUNDLE / "manifests"
    return {
        folder / "vllm-operator.clusterserviceversion.yaml": _text(service_version(IMAGE)),
        folder / "vllmservers.vllm-operator.dev.crd.yaml": _text(crd()),
        folder / "vllmgateways.vllm-operator.dev.crd.yaml": _text(gateway_crd()),
    }


def service_version(image: str) -> Object:
    """Return the ClusterServiceVersion of an operator for all namespaces, with this image."""
    manifests = operator_manifests(image, NAMESPACE, rights=NO_METRICS_API)
    objects = {body["kind"]: body for body in manifests}
    rules = [rule for body in manifests if body["kind"] == "ClusterRole" for rule in body["rules"]]
    account = objects["ServiceAccount"]["metadata"]["name"]
    example = yaml.safe_load((REPOSITORY / "examples" / "gpu.yaml").read_text())
    return {
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": f"vllm-operator.v{__version__}",
            "annotations": {
                "alm-examples": json.dumps([example]),
                "capabilities": "Deep Insights",
                "categories": "AI/Machine Learning",
                "containerImage": image,
                "description": "Serves models by vLLM and reports honestly whether they serve",
                "operatorframework.io/suggested-namespace": NAMESPACE,
            },
        },
        "spec": {
            "displayName": "vLLM Operator",
            "description": DESCRIPTION,
            "version": __version__,
            "maturity": "alpha",
            "minKubeVersion": MIN_KUBERNETES,
            "keywords": ["vllm", "llm", "inference", "gpu"],
            "provider": {"name": "vllm-operator"},
            "installModes": [
                {"type": name, "supported": name == "AllNamespaces"}
                for name in ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
            ],
            "customresourcedefinitions": {
                "owned": [
                    _owned(crd(), "One model, served by replicas of vLLM behind a Service."),
                    _owned(gateway_crd(), "One OpenAI endpoint in front of the servers of a namespace."),
                ]
            },
            "install": {
                "strategy": "deployment",
                "spec": {
                    "clusterPermissions": [{"serviceAccountName": account, "rules": rules}],
                    "permissions": [{"serviceAccountName": account, "rules": objects["Role"]["rules"]}],
                    "deployments": [
                        {
                            "name": objects["Deployment"]["metadata"]["name"],
                            "label": objects["Deployment"]["metadata"]["labels"],
                            "spec": objects["Deployment"]["spec"],
                        }
                    ],
                },
            },
        },
    }


def _owned(body: Object, description: str) -> Object:
    kind = body["spec"]["names"]["kind"]
    return {
        "name": body["metadata"]["name"],
        "kind": kind,
        "version": VERSION,
        "displayName": kind,
        "description": description,
    }


def _text(body: Object) -> str:
    # OLM reads the first document of a file, and a comment before the mark would be one.
    return HEAD + to_yaml([body]).removeprefix("---\n")
