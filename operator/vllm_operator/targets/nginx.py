"""The configuration of nginx in front of several replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vllm_operator.targets.files import text_file

IMAGE = "nginx:1.28"
"""Image of nginx. `server ... resolve` needs 1.27.3 or later (nginx.org, ngx_http_upstream_module)."""

DOCKER_RESOLVER = "127.0.0.11"
"""Address of Docker's DNS server in each container of a network."""

READ_TIMEOUT_SECONDS = 3600
"""Longest silence of a replica within one request: a long answer without streaming comes at its end."""

MOST_TRIES = 3
"""Replicas that one request may be sent to. A request that stops an engine then stops three at most."""


@dataclass(frozen=True)
class Balancer:
    """The places that nginx listens at and sends requests to.

    Attributes:
        addresses: address and port of each replica.
        resolver: DNS server for names among the addresses; empty when all are IP addresses.
    """

    addresses: Sequence[str]
    listen: str = "80"
    resolver: str = ""
    access_log: str = "/dev/stdout"


def nginx_configuration(name: str, balancer: Balancer) -> str:
    """Return the configuration, to be included in the `http` block."""
    return text_file(
        "nginx.conf",
        {
            "title": f"nginx in front of the replicas of {name}.",
            "addresses": balancer.addresses,
            "listen": balancer.listen,
            "resolver": balancer.resolver,
            "access_log": balancer.access_log,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "tries": min(len(balancer.addresses), MOST_TRIES),
        },
    )
