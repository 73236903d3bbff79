"""What each error is on the wire, and what it carries."""

import pytest

from trunkline import errors
from trunkline.errors import ApiError, InvalidRequest, StartupError, TrunklineError


@pytest.mark.parametrize(
    ("name", "status", "code", "title"),
    [
        ("AuthenticationFailed", 401, "10009", "Authentication failed"),
        ("ResourceNotFound", 404, "", ""),
        ("MethodNotAllowed", 405, "10030", "Method not allowed"),
        ("PermissionDenied", 403, "10010", "Authorization failed"),
        ("PayloadTooLarge", 413, "10023", "Payload too large"),
        ("UnsupportedMediaType", 415, "10024", "Unsupported Content-Type"),
        ("InvalidRequest", 422, "10015", "Bad Request"),
        ("UnknownApplication", 422, "10015", "Bad Request"),
        ("MissingParameter", 422, "10004", "Missing required parameter"),
        ("InvalidEnum", 422, "10032", "Invalid enumerated value"),
        ("InvalidUrl", 422, "10003", "Invalid URL"),
        ("InvalidType", 422, "10026", "Invalid parameter type"),
        ("CallNotAnswered", 422, "90034", "Call not answered yet"),
        ("CallEnded", 422, "90018", "Call has already ended"),
        ("StreamLimitReached", 422, "90045", "Media Streaming is used"),
        ("TooManyRequests", 429, "10011", "Too many requests"),
        ("Unavailable", 503, "10007", "Unexpected error"),
    ],
)
def test_each_error_has_its_status_code_and_title(name: str, status: int, code: str, title: str) -> None:
    kind: type[ApiError] = getattr(errors, name)
    assert (kind.status, kind.code, kind.title) == (status, code, title)
    assert issubclass(kind, InvalidRequest) == (name.startswith(("Invalid", "Missing", "Unknown")))


def test_the_tree_is_complete() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ApiError)]
    assert len(kinds) == 18
    assert all(issubclass(kind, TrunklineError) for kind in [*kinds, StartupError])
    assert not issubclass(StartupError, ApiError)
    assert (ApiError.status, ApiError.code, ApiError.title) == (500, "10007", "Unexpected error")


def test_an_error_carries_its_words_the_field_and_when_to_come_again() -> None:
    error = errors.Unavailable("The store is behind.", pointer="/Url", retry_after=1)
    assert (str(error), error.detail, error.pointer, error.retry_after) == (
        *("The store is behind.", "The store is behind."),
        *("/Url", 1),
    )
    assert (errors.InvalidUrl("x").pointer, errors.InvalidUrl("x").retry_after) == (None, None)


def test_two_errors_always_have_the_same_detail() -> None:
    assert errors.AuthenticationFailed().detail == "Could not understand the provided credentials."
    assert errors.ResourceNotFound().detail == "Resource not found"
