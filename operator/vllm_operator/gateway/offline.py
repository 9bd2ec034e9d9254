"""Render the children of a gateway without a cluster. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.gateway.children import GatewayImages, render_gateway
from vllm_operator.gateway.exposure import render_exposure
from vllm_operator.gateway.keys import secret_names
from vllm_operator.gateway.observe import is_served
from vllm_operator.gateway.pod_secrets import pod_secrets
from vllm_operator.gateway.spec_checks import check_spec

OPERATOR_IMAGE = "vllm-operator"
"""Stands for the image of the operator, which nobody knows offline."""


def rendered_gateway(gateway: VLLMGateway, servers: Sequence[str]) -> list[dict[str, Any]]:
    """Return the children of a gateway in front of the servers of these names.

    Raises:
        InvalidSpecError: the operator would refuse the spec.
    """
    check_spec(gateway.spec)
    pod_secrets(gateway.spec)
    served = [name for name in servers if is_served(gateway.spec, {"metadata": {"name": name}})]
    manifests = render_gateway(gateway, GatewayImages(OPERATOR_IMAGE), served, secret_names(gateway.spec.auth))
    return [manifest.body for manifest in (*manifests, *render_exposure(gateway, served))]
