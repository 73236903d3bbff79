"""How a refusal looks on the wire, for every route and in one place (docs/reference/rest.md#answers).

    {"errors": [{"code": "10004", "title": "…", "detail": "…", "source": {"pointer": "/Url"}}]}

An unknown resource is the exception: Telnyx sends only its detail. The official SDKs repeat 408, 409, 429 and 5xx
twice; `x-should-retry: false` forbids it after a refusal that a repeat cannot change, and after an unexpected error, as
the request may have had its effect.
"""

from collections.abc import Iterable

from starlette.responses import JSONResponse, Response

from trunkline.errors import ApiError, AuthenticationFailed, MethodNotAllowed

RETRY_AFTER = 1
"""Seconds, where the error itself does not know better."""


def body(error: ApiError) -> dict[str, object]:
    """The JSON of one refusal."""
    if not error.code:
        return {"errors": [{"detail": error.detail}]}
    problem: dict[str, object] = {"code": error.code, "title": error.title, "detail": error.detail}
    if error.pointer:
        problem["source"] = {"pointer": error.pointer}
    return {"errors": [problem]}


def response(error: ApiError, method: str, allow: Iterable[str]) -> Response:
    """The answer to a request that was refused. `allow`: the methods that the path has (RFC 9110 section 15.5.6)."""
    headers: dict[str, str] = {}
    if error.status in (429, 503):
        headers["retry-after"] = str(error.retry_after or RETRY_AFTER)
    elif error.status < 500 or method not in ("GET", "HEAD"):
        headers["x-should-retry"] = "false"
    if isinstance(error, AuthenticationFailed):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(sorted(allow))
    return JSONResponse(body(error), error.status, headers)


def schema(error: ApiError) -> str:
    """The name of the schema of a refusal."""
    return "Errors" if error.code else "NotFound"
