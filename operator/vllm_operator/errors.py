"""Errors whose message a user can act on; the edge decides from the type what is retried."""

from __future__ import annotations

from collections.abc import Collection


class VLLMOperatorError(Exception):
    """Base of every error that this project raises on purpose."""


class InvalidSpecError(VLLMOperatorError):
    """The manifest asks for something that cannot be; retrying is useless until the user changes it.

    Args:
        field: path of the offending field below the resource, such as `spec.engine.maxModelLen`.
        reason: CamelCase reason for the `Accepted` condition.
        message: what is wrong and the way out, without the field's name.
    """

    def __init__(self, field: str, message: str, reason: str = "InvalidSpec") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.reason = reason
        self.message = str(self)


class TemplateError(VLLMOperatorError):
    """A template broke a rule of the house: a defect of this operator, never of the user's manifest."""


REFUSED_WITH_500 = (
    "typed patch object",
    "smd typed",
    "unable to convert unstructured object",
    "request is too large",
    "message larger than max",
)
"""Words of an answer 500 that an object itself causes: fields that its kind does not have, values of another type, and
more than etcd keeps in one object (1.5 MiB)."""


class ApiError(VLLMOperatorError):
    """The API server answered with an error.

    Args:
        status: HTTP status code; 0 when there was no answer.
        reason: the `reason` of the API server's Status object, such as `Conflict`.
        message: the API server's own words.
        retry_after: seconds that the server asked to wait, if it did.
        causes: the reasons in the Status object's `details.causes`, such as `NamespaceTerminating`.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
        causes: Collection[str] = (),
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = frozenset(causes)

    @property
    def is_refusal(self) -> bool:
        """True when the request itself is at fault: sending it again unchanged cannot succeed."""
        return (self.status in {400, 403, 405, 413, 422} and not self._kind_ends) or self._is_refused_with_500

    @property
    def namespace_ends(self) -> bool:
        """True when nothing more can be created in the namespace, since it is being deleted."""
        return self.status == 403 and "NamespaceTerminating" in self.causes

    @property
    def kind_gone(self) -> bool:
        """True when the kind is not served, or takes no new object since its CRD is being deleted."""
        return self.status == 404 or self._kind_ends

    @property
    def _kind_ends(self) -> bool:
        return self.status == 405 and "custom resource definition is terminating" in self.message

    @property
    def _is_refused_with_500(self) -> bool:
        return self.status == 500 and any(words in self.message for words in REFUSED_WITH_500)


class NotLeaderError(ApiError):
    """Another operator may lead now: nothing may be written."""

    def __init__(self) -> None:
        super().__init__(0, "NotLeader", "not the leader: nothing was written")
