"""Request bodies and query strings: bytes in, `Fields` out.

Every write takes JSON (the Python and Go SDKs) and forms (Node, Ruby, PHP); an empty body is an empty set of fields,
whatever its type. A field is found under its documented CamelCase name and under snake_case (`url`, `from_`,
`status_callback`), which newer SDKs send; so names are compared without case and underscores. Unknown names are
ignored. A name given twice is refused, since it is ambiguous. `null` and the empty string count
as not given: forms cannot say it otherwise.
"""

import json
from collections.abc import Iterable
from functools import cache
from urllib.parse import parse_qsl

from starlette.requests import Request

from trunkline.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
WAV, MP3 = "audio/wav", "audio/mpeg"
JSON_LINES = "application/x-ndjson"

FIELD_LIMIT = 1000
"""Fields of one form or query; the largest request of the API has a few dozen."""

_FOLDS = str.maketrans({"_": None, ">": "gt", "<": "lt"})


def fold(name: str) -> str:
    """One spelling for all: `StatusCallback` and `status_callback`; `StartTime_gt`, `start_time_gt` and `StartTime>`
    (which the Python SDK sends)."""
    return name.translate(_FOLDS).lower()


_documented = cache(fold)
"""Names of ours, which are few."""


class Fields:
    """The members of one body or query."""

    def __init__(self, pairs: Iterable[tuple[str, object]]) -> None:
        self.pairs: tuple[tuple[str, object], ...] = tuple(pairs)
        self._by_name: dict[str, list[object]] = {}
        for name, value in self.pairs:
            if value is not None and value != "":
                self._by_name.setdefault(fold(name), []).append(value)

    def get(self, name: str) -> object | None:
        """The value of the field of that documented name, or None. Raises InvalidRequest when it was given twice."""
        values = self._by_name.get(_documented(name), [])
        if len(values) > 1:
            raise InvalidRequest(f"{name} was given {len(values)} times", pointer=f"/{name}")
        return values[0] if values else None

    def having(self, name: str, value: object) -> "Fields":
        """The same fields, but for the one of that documented name, which has this value."""
        others = ((key, given) for key, given in self.pairs if fold(key) != fold(name))
        return Fields([*others, (name, value)])


async def read(request: Request, limit: int) -> bytes:
    """The whole body, of at most `limit` bytes, chunked or not.

    Raises PayloadTooLarge as soon as it is known, so that nothing over the limit is ever held.
    """
    too_large = PayloadTooLarge(f"The body is larger than {limit} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


async def fields_of(request: Request, limit: int) -> tuple[bytes, Fields]:
    """The body as it came, and its fields. Raises what `read` and `parse` raise."""
    body = await read(request, limit)
    return body, parse(request.headers.get("content-type"), request.headers.get("content-encoding"), body)


def parse(content_type: str | None, content_encoding: str | None, body: bytes) -> Fields:
    """The fields of a body. Raises UnsupportedMediaType and InvalidRequest."""
    if not body:
        return Fields(())
    if content_encoding not in (None, "identity"):
        raise UnsupportedMediaType(f"Content-Encoding {content_encoding!r} is not supported")
    media_type, charset = _media_type(content_type or "")
    if media_type not in (JSON, FORM):
        raise UnsupportedMediaType(f"The body must be {JSON} or {FORM}")
    # RFC 8259 section 8.1 and the URL standard know only UTF-8; ASCII is part of it.
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"Charset {charset!r} is not supported; send utf-8")
    try:
        # RFC 8259 section 8.1: a byte order mark may be ignored. PowerShell and .NET send one.
        text = body.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not valid UTF-8 at byte {error.start}") from None
    if media_type == FORM:
        return parse_query(text)
    return _json_fields(text)


def parse_query(text: str) -> Fields:
    """The fields of a query string or form (the URL standard's application/x-www-form-urlencoded)."""
    try:
        return Fields(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELD_LIMIT))
    except UnicodeDecodeError:
        raise InvalidRequest("A percent-encoded value is not valid UTF-8") from None
    except ValueError:
        raise InvalidRequest(f"More than {FIELD_LIMIT} fields") from None


def parse_json(text: str) -> object:
    """JSON, strictly (RFC 8259): no NaN, no name twice in one object. Raises InvalidRequest."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"Not valid JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("Not valid JSON: a number too long, or nested too deep") from None


def _json_fields(text: str) -> Fields:
    value = parse_json(text)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object")
    return Fields(value.items())


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise InvalidRequest("Not valid JSON: a name was given twice in one object")
    return names


def _no_constant(name: str) -> object:
    raise InvalidRequest(f"Not valid JSON: {name}")


def _media_type(header: str) -> tuple[str, str]:
    """The media type and charset of a Content-Type (RFC 9110 section 8.3), lower-case; utf-8 when none is named."""
    media_type, *parameters = header.split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return media_type.strip().lower(), charset
