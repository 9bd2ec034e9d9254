"""The errors of batches."""

from __future__ import annotations

from vllm_operator.client.errors import InvalidRequest, VLLMClientError


class BatchFileError(VLLMClientError):
    """The file with the requests or the results of a batch cannot be used. The message names file, line and remedy."""


class InvalidBatchRequest(InvalidRequest):
    """A request of a batch cannot be sent: it is no request, or its `custom_id` belongs to another one."""


class EarlierFailure(InvalidRequest):
    """An earlier run got this error for the same request. It lies in the request, so it is not sent again.

    Attributes:
        code: class of the error in the earlier run.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        """Take the message and the class of the error."""
        super().__init__(message)
        self.code = code
