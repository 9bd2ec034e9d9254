"""Decide by a SubjectAccessReview whether a user may read a metric; the decision counts for some seconds."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

from vllm_operator.kube.fields import get, get_str
from vllm_operator.kube.types import Object
from vllm_operator.metrics_api.documents import GROUP
from vllm_operator.metrics_api.front_proxy import User

CACHE_SECONDS = 10.0
"""Seconds for which a decision counts, as in Kubernetes' own API servers (`DelegatingAuthorizationOptions`)."""

MAX_DECISIONS = 4096
"""Decisions that are kept; the oldest is dropped first."""

MASTERS = "system:masters"
"""Group that may do everything; the API server lets it through before any review."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The object and the metric of a request; `resource` is as in the path, such as `pods`."""

    version: str
    namespace: str
    resource: str
    name: str
    metric: str


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """The answer of the API server to a review, with its reason."""

    allowed: bool
    reason: str = ""


Review = Callable[[dict[str, Any]], Awaitable[Object]]
"""Creates a SubjectAccessReview and returns it with its status."""


class AccessReviews:
    """Decide about requests.

    Args:
        review: creates a SubjectAccessReview; raises ApiError.
        clock: monotonic seconds.
    """

    def __init__(self, review: Review, clock: Callable[[], float] = time.monotonic) -> None:
        self._review = review
        self._clock = clock
        self._decisions: OrderedDict[Hashable, tuple[float, AccessDecision]] = OrderedDict()

    async def decide(self, user: User, attributes: Attributes) -> AccessDecision:
        """Return the decision about a request.

        Raises:
            ApiError: the API server gave none.
        """
        if MASTERS in user.groups:
            return AccessDecision(True)
        key = (user.identity, attributes)
        known = self._decisions.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        answer = await self._review(review_body(user, attributes))
        allowed = get(answer, "status", "allowed") is True and get(answer, "status", "denied") is not True
        decision = AccessDecision(allowed, get_str(answer, "status", "reason"))
        self._decisions.pop(key, None)
        self._decisions[key] = self._clock() + CACHE_SECONDS, decision
        while len(self._decisions) > MAX_DECISIONS:
            self._decisions.popitem(last=False)
        return decision


def review_body(user: User, attributes: Attributes) -> dict[str, Any]:
    """Return the SubjectAccessReview of a request."""
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user.name,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
            "resourceAttributes": {
                "group": GROUP,
                "version": attributes.version,
                "verb": "get",
                "namespace": attributes.namespace,
                "resource": attributes.resource,
                "name": attributes.name,
                "subresource": attributes.metric,
            },
        },
    }
