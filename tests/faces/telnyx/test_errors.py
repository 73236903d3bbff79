"""Every refusal of the error tree, as it looks on the wire."""

import json
from collections.abc import Iterator

import pytest

from trunkline import errors
from trunkline.errors import ApiError, InvalidEnum, MethodNotAllowed, ResourceNotFound, TooManyRequests, Unavailable
from trunkline.faces.telnyx import errors as problems


def _kinds(kind: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def _make(kind: type[ApiError]) -> ApiError:
    if kind is errors.AuthenticationFailed:
        return errors.AuthenticationFailed()
    return ResourceNotFound() if kind is ResourceNotFound else kind("why")


def test_a_pointer_names_the_field() -> None:
    assert problems.body(InvalidEnum("Track must be one of …", pointer="/Track")) == {
        "errors": [
            {
                "code": "10032",
                "title": "Invalid enumerated value",
                "detail": "Track must be one of …",
                "source": {"pointer": "/Track"},
            }
        ]
    }


def test_not_found_has_the_documented_body() -> None:
    assert problems.response(ResourceNotFound(), "GET", ()).body == b'{"errors":[{"detail":"Resource not found"}]}'


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_what_a_repeat_can_change_may_be_repeated(kind: type[ApiError], method: str) -> None:
    response = problems.response(_make(kind), method, ())
    assert response.status_code == kind.status
    assert list(json.loads(bytes(response.body))) == ["errors"]
    may_repeat = kind in (TooManyRequests, Unavailable) or (kind is ApiError and method == "GET")
    assert ("x-should-retry" in response.headers) is not may_repeat
    assert ("retry-after" in response.headers) is (kind in (TooManyRequests, Unavailable))


def test_retry_after_is_the_errors_own_or_a_second() -> None:
    assert problems.response(Unavailable("why", retry_after=7), "POST", ()).headers["retry-after"] == "7"
    assert problems.response(Unavailable("why"), "POST", ()).headers["retry-after"] == "1"


def test_allow_is_sorted() -> None:
    response = problems.response(MethodNotAllowed("why"), "PUT", {"POST", "GET"})
    assert response.headers["allow"] == "GET, POST"


def test_the_schema_of_a_refusal_is_that_of_its_body() -> None:
    assert (problems.schema(ResourceNotFound()), problems.schema(InvalidEnum("why"))) == ("NotFound", "Errors")
