"""gRPC's status codes as exceptions."""
from __future__ import annotations

from typing import Any

import grpc


class BatonError(Exception):
    """Any failure of a request. `retry_after` is the server's wish in seconds, if it had one."""

    retryable = False

    def __init__(self, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class InvalidRequest(BatonError):
    """The message names the field; sending it again will not help."""


class NotFound(BatonError):
    """Unknown model."""


class PermissionDenied(BatonError):
    """Credentials are missing or wrong."""


class Overloaded(BatonError):
    """The cluster is full; try again after `retry_after`."""

    retryable = True


class Unavailable(BatonError):
    """No router, or no worker."""

    retryable = True


class DeadlineExceeded(BatonError):
    """The request's timeout ran out."""


class Cancelled(BatonError):
    """Cancelled by this client."""


class InternalError(BatonError):
    """The server's fault."""


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
}


def error_of(failure: Any) -> BatonError:
    """Of a grpc.RpcError, as sync and asyncio calls raise it."""
    wish = next((value for key, value in failure.trailing_metadata() or () if key == "retry-after-ms"), None)
    try:
        retry_after = None if wish is None else max(0.0, int(wish) / 1000)
    except ValueError:
        retry_after = None
    return _BY_CODE.get(failure.code(), InternalError)(failure.details() or str(failure.code()), retry_after)
