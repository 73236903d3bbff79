"""The error tree: each error has its HTTP status, Telnyx code and title (docs/reference/rest.md#answers).

    TrunklineError                     anything we raise on purpose
    ├── StartupError                   a bad setting, a busy port: one line on stderr, exit code 2
    ├── Fenced                         another server has taken the database over; exit code 75
    └── ApiError                       a refused request; rendered by faces/telnyx/errors.py, nowhere else
        ├── AuthenticationFailed  401  10009
        ├── PermissionDenied      403  10010
        ├── ResourceNotFound      404  (no code: Telnyx's body has only a detail)
        ├── MethodNotAllowed      405  10030
        ├── PayloadTooLarge       413  10023
        ├── UnsupportedMediaType  415  10024
        ├── InvalidRequest        422  10015, and its kinds:
        │   ├── MissingParameter       10004
        │   ├── InvalidEnum            10032
        │   ├── InvalidUrl             10003
        │   └── InvalidType            10026
        ├── CallNotAnswered       422  90034
        ├── CallEnded             422  90018
        ├── StreamLimitReached    422  90045
        ├── TooManyRequests       429  10011
        └── Unavailable           503  10007

SDP and SIP refusals live in their own rooms (`sdp.values`, `sip.values`) because only SIP peers see them.
"""

from typing import ClassVar


class TrunklineError(Exception):
    """Anything raised on purpose."""


class StartupError(TrunklineError):
    """The server cannot start or go on; the text is the one line that the operator reads."""


class Fenced(TrunklineError):
    """This life was declared dead: it must write nothing more, since another has ended what it left."""


class ApiError(TrunklineError):
    """A refused request.

    `pointer` names the offending field as a JSON pointer (`/Url`); `retry_after` is in seconds and set only
    where the request may be repeated.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "10007"
    title: ClassVar[str] = "Unexpected error"

    def __init__(self, detail: str, *, pointer: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.retry_after = retry_after


class AuthenticationFailed(ApiError):
    """Missing or unknown API key."""

    status, code, title = 401, "10009", "Authentication failed"

    def __init__(self) -> None:
        super().__init__("Could not understand the provided credentials.")


class PermissionDenied(ApiError):
    """The key's scope does not allow the operation."""

    status, code, title = 403, "10010", "Authorization failed"


class ResourceNotFound(ApiError):
    """Unknown account, call or stream, or another account's."""

    status, code, title = 404, "", ""

    def __init__(self) -> None:
        super().__init__("Resource not found")


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    status, code, title = 405, "10030", "Method not allowed"


class PayloadTooLarge(ApiError):
    """The body is over `http.body_limit`."""

    status, code, title = 413, "10023", "Payload too large"


class UnsupportedMediaType(ApiError):
    """The body is neither JSON nor a form."""

    status, code, title = 415, "10024", "Unsupported Content-Type"


class InvalidRequest(ApiError):
    """The body cannot be understood, or asks for what cannot be had."""

    status, code, title = 422, "10015", "Bad Request"


class UnknownApplication(InvalidRequest):
    """The account has no TeXML application of that sid."""


class MissingParameter(InvalidRequest):
    """A required field is absent."""

    code, title = "10004", "Missing required parameter"


class InvalidEnum(InvalidRequest):
    """A value outside the documented ones."""

    code, title = "10032", "Invalid enumerated value"


class InvalidUrl(InvalidRequest):
    """Not a URL of the wanted scheme."""

    code, title = "10003", "Invalid URL"


class InvalidType(InvalidRequest):
    """A value of another type than documented."""

    code, title = "10026", "Invalid parameter type"


class CallNotAnswered(ApiError):
    """The call is still being set up."""

    status, code, title = 422, "90034", "Call not answered yet"


class CallEnded(ApiError):
    """The call is over."""

    status, code, title = 422, "90018", "Call has already ended"


class StreamLimitReached(ApiError):
    """As many streams on the call as the settings allow."""

    status, code, title = 422, "90045", "Media Streaming is used"


class TooManyRequests(ApiError):
    """Over `http.rate_limit`, or over a limit on calls."""

    status, code, title = 429, "10011", "Too many requests"


class Unavailable(ApiError):
    """Shutting down, or no media worker to take the work."""

    status, code, title = 503, "10007", "Unexpected error"
