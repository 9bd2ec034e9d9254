"""Define the errors of this project: each message says what the user can do, and the type decides what is retried."""

from __future__ import annotations

from collections.abc import Collection


class VLLMOperatorError(Exception):
    """Base of every error that this project raises on purpose."""


class InvalidSpecError(VLLMOperatorError):
    """The spec asks for something impossible. A retry cannot succeed until the user changes the spec.

    Args:
        field: path of the invalid field below the resource, such as `spec.engine.maxModelLen`.
        reason: CamelCase reason for the `Accepted` condition.
        message: the cause and the remedy, without the field's name.
    """

    def __init__(self, field: str, message: str, reason: str = "InvalidSpec") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.reason = reason
        self.message = str(self)


class TemplateError(VLLMOperatorError):
    """A template broke a rule of the renderer: a defect of this operator, never of the user's manifest."""


REFUSALS_WITH_STATUS_500 = (
    "typed patch object",
    "smd typed",
    "unable to convert unstructured object",
    "request is too large",
    "message larger than max",
)
"""Parts of the message of a 500 that the object itself causes: fields that its kind does not have, values of a wrong
type, and objects larger than etcd's limit (1.5 MiB)."""


class ApiError(VLLMOperatorError):
    """A call to the API server failed.

    Args:
        status: HTTP status code; None when there was no answer (`NoAnswerError`, `NotSentError`).
        reason: the `reason` of the API server's Status object, such as `Conflict`.
        message: the message of the Status object.
        retry_after: seconds to wait before the next try, if the API server named them.
        causes: the reasons in the Status object's `details.causes`, such as `NamespaceTerminating`.
    """

    def __init__(
        self,
        status: int | None,
        reason: str,
        message: str,
        retry_after: float | None = None,
        causes: Collection[str] = (),
    ) -> None:
        super().__init__(message if status is None else f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = frozenset(causes)

    @property
    def is_refusal(self) -> bool:
        """True when the request itself is at fault: sending it again unchanged cannot succeed."""
        if self.status == 500:
            return any(part in self.message for part in REFUSALS_WITH_STATUS_500)
        return self.status in {400, 403, 405, 413, 422} and not self._is_crd_terminating

    @property
    def is_namespace_terminating(self) -> bool:
        """True when the namespace is being deleted, so that no object can be created in it."""
        return self.status == 403 and "NamespaceTerminating" in self.causes

    @property
    def is_kind_gone(self) -> bool:
        """True when the kind is not served, or accepts no new object because its CRD is being deleted."""
        return self.status == 404 or self._is_crd_terminating

    @property
    def _is_crd_terminating(self) -> bool:
        return self.status in {403, 405} and "custom resource definition is terminating" in self.message


class NoAnswerError(ApiError):
    """The API server was not reached, or its answer was cut off or unreadable: a write may have taken effect.

    Args:
        reason: CamelCase reason, such as `Unreachable`.
        message: the cause.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(None, reason, message)


class ResponseTooLargeError(NoAnswerError):
    """The answer had more bytes than the operator reads; the rest was not read.

    Args:
        max_bytes: the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__("TooLarge", f"the API server's answer has more than {max_bytes:,} bytes")


class NotSentError(ApiError):
    """The operator itself held a request back: nothing was written.

    Args:
        reason: CamelCase reason, such as `NotLeader`.
        message: the cause.
        retry_after: seconds to wait before the next try, if they are known.
    """

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(None, reason, message, retry_after)


class NotLeaderError(NotSentError):
    """Another operator may lead now, so this one writes nothing."""

    def __init__(self) -> None:
        super().__init__("NotLeader", "not the leader: nothing was written")
