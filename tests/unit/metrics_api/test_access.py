"""Access reviews and how long their decisions count."""

from __future__ import annotations

from typing import Any

from tests.helpers.fakes import FakeClock
from vllm_operator.metrics_api import access
from vllm_operator.metrics_api.access import AccessReviews, Attributes, review_body
from vllm_operator.metrics_api.front_proxy import User

ASKED = Attributes("v1beta2", "llm", "pods", "*", "vllm_num_requests")
JOE = User("joe", ("dev",), {"scopes": ("x",)})


class FakeReviews:
    """Answers reviews with a decision."""

    def __init__(self, **status: Any) -> None:
        self.status = status
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        return {**body, "status": self.status}


async def test_decision_counts_for_some_seconds() -> None:
    reviews, clock = FakeReviews(allowed=True), FakeClock()
    access_reviews = AccessReviews(reviews, clock)

    for seconds in (0, access.CACHE_SECONDS - 1, 2):
        clock.now += seconds
        assert (await access_reviews.decide(JOE, ASKED)).allowed

    assert len(reviews.asked) == 2


async def test_users_and_requests_are_distinguished() -> None:
    reviews = FakeReviews(allowed=False, reason="no rule")
    access_reviews = AccessReviews(reviews, FakeClock())

    assert (await access_reviews.decide(JOE, ASKED)).reason == "no rule"
    await access_reviews.decide(User("joe"), ASKED)
    await access_reviews.decide(JOE, Attributes("v1beta2", "other", "pods", "*", "vllm_num_requests"))

    assert len(reviews.asked) == 3


async def test_explicit_denial_wins() -> None:
    assert not (await AccessReviews(FakeReviews(allowed=True, denied=True)).decide(JOE, ASKED)).allowed


async def test_masters_need_no_review() -> None:
    reviews = FakeReviews(allowed=False)

    assert (await AccessReviews(reviews).decide(User("admin", ("system:masters",)), ASKED)).allowed
    assert reviews.asked == []


async def test_number_of_decisions_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(access, "MAX_DECISIONS", 2)
    reviews = FakeReviews(allowed=True)
    access_reviews = AccessReviews(reviews, FakeClock())

    for name in ("a", "b", "c", "a"):
        await access_reviews.decide(User(name), ASKED)

    assert len(reviews.asked) == 4


def test_review_names_the_metric_as_subresource() -> None:
    spec = review_body(JOE, ASKED)["spec"]

    assert (spec["user"], spec["groups"], spec["extra"]) == ("joe", ["dev"], {"scopes": ["x"]})
    assert spec["resourceAttributes"]["subresource"] == "vllm_num_requests"
    assert spec["resourceAttributes"]["group"] == "custom.metrics.k8s.io"
