"""What the loop and the status need to know of a server between two generations: small, unlike its spec."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from vllm_operator.api.operations import CompletionMode
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.cache_volume import cache_claim
from vllm_operator.desired.children import endpoint_url
from vllm_operator.desired.monitoring import ScrapeMethod, missing_crds, scrape_method
from vllm_operator.vllm.model_source import resolve_model

DEFAULT_PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class ServerSummary:
    """A server in short; of one that cannot be parsed only the identity is known.

    Attributes:
        namespace: namespace of the server.
        name: its full name.
        uid: its UID.
        paused: its children are left alone.
        probe_interval: seconds between two probes of a replica.
        synthetic_completion: when the operator requests a synthetic completion of a replica.
        restart_stalled: the operator deletes the pod of a stalled engine.
        replicas: replicas that the spec asks for; None while an autoscaler decides.
        autoscaling: an autoscaler is wanted.
        cache_claim: name of the claim that holds the cache; None without one.
        downloads: vLLM downloads the model when it starts.
        endpoint: URL of the Service inside the cluster.
        missing_crds: optional kinds that monitoring wants and the cluster lacks.
        monitoring: scraping or alerts are wanted.
    """

    namespace: str
    name: str
    uid: str
    paused: bool = False
    probe_interval: int = DEFAULT_PROBE_SECONDS
    synthetic_completion: CompletionMode = "WhenSuspicious"
    restart_stalled: bool = False
    replicas: int | None = None
    autoscaling: bool = False
    cache_claim: str | None = None
    downloads: bool = False
    endpoint: str = ""
    missing_crds: tuple[str, ...] = ()
    monitoring: bool = False

    @property
    def key(self) -> str:
        """`namespace/name`, as logs name it."""
        return f"{self.namespace}/{self.name}"


def summarize(server: VLLMServer, installed: Set[str]) -> ServerSummary:
    """The outline of `server` in a cluster with the optional kinds `installed`."""
    spec, missing = server.spec, missing_crds(server, installed)
    return ServerSummary(
        namespace=server.namespace,
        name=server.name,
        uid=server.uid,
        paused=spec.paused,
        probe_interval=spec.health.probe_interval_seconds,
        synthetic_completion=spec.health.synthetic_completion,
        restart_stalled=spec.health.restart_stalled,
        replicas=None if spec.autoscaling else spec.replicas,
        autoscaling=spec.autoscaling is not None,
        cache_claim=cache_claim(server),
        downloads=resolve_model(spec.model).downloads,
        endpoint=endpoint_url(server),
        missing_crds=missing,
        monitoring=bool(missing) or scrape_method(server, installed) is not ScrapeMethod.NONE,
    )
