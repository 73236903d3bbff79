"""The queries of lists: pages and filters (docs/reference/rest.md#lists).

Dates are UTC days and inclusive: `StartTime_gt=2023-05-22` begins with that day, `StartTime_lt` ends with it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from urllib.parse import quote, urlencode

from trunkline.api.bodies import Fields
from trunkline.api.readers import one_of, party, text
from trunkline.calls.views import CallFilter, CallStatus, RecordingFilter, StreamFilter, StreamStatus
from trunkline.errors import InvalidRequest
from trunkline.ids import CallSid

DEFAULT_PAGE_SIZE = 20
PAGE_SIZE_LIMIT = 1000
PAGE_LIMIT = 1_000_000
"""Keeps an offset within the 64 bits of a database."""

APPLICATION_PAGE_LIMIT = 250
APPLICATION_SORTS = tuple(sign + name for name in ("created_at", "friendly_name", "active") for sign in ("", "-"))

_FILTERS = (
    "To",
    "From",
    "Status",
    "CallSid",
    "Name",
    *(f"{time}{suffix}" for time in ("StartTime", "EndTime") for suffix in ("", "_gt", "_lt")),
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(r"([<>]?)=?([0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{8,15}(?:Z|[+-][0-9]{2}:[0-9]{2}))?)")
_NUMBER = re.compile(r"[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    number: int
    """From zero."""
    size: int
    filters: tuple[tuple[str, str], ...] = ()
    """As given, so that the pages' URIs keep them."""

    @property
    def offset(self) -> int:
        """Elements before the page."""
        return self.number * self.size

    def query(self, number: int) -> str:
        """The query string of another page of the same list."""
        return "?" + urlencode([*self.filters, ("Page", str(number)), ("PageSize", str(self.size))], quote_via=quote)


@dataclass(frozen=True, slots=True)
class ApplicationQuery:
    """Which applications are wanted."""

    number: int
    """Of the page, from one."""
    size: int
    name: str
    """In the friendly name, without case; empty = any."""
    profile: str | None
    """The `outbound_voice_profile_id`."""
    sort: str
    """Attribute of `views.Application`."""
    descending: bool


def application_query(fields: Fields) -> ApplicationQuery:
    """Page, filters and order of a list of applications. Raises InvalidRequest, InvalidEnum."""
    sort = str(one_of(*APPLICATION_SORTS)("sort", fields.get("sort") or "-created_at"))
    name, profile = (fields.get(f"filter[{name}]") for name in ("friendly_name", "outbound_voice_profile_id"))
    return ApplicationQuery(
        number=_number(fields, "page[number]", 1, 1, PAGE_LIMIT),
        size=_number(fields, "page[size]", DEFAULT_PAGE_SIZE, 1, APPLICATION_PAGE_LIMIT),
        name="" if name is None else text("filter[friendly_name]", name).casefold(),
        profile=None if profile is None else text("filter[outbound_voice_profile_id]", profile),
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
    )


def page(fields: Fields, known: tuple[str, ...] = _FILTERS) -> Page:
    """`Page` and `PageSize`; `known` filters are kept. Raises InvalidRequest."""
    number = _number(fields, "Page", 0, 0, PAGE_LIMIT)
    size = _number(fields, "PageSize", DEFAULT_PAGE_SIZE, 1, PAGE_SIZE_LIMIT)
    filters = tuple((name, text(name, value)) for name in known if (value := fields.get(name)) is not None)
    return Page(number, size, filters)


def call_filter(fields: Fields) -> CallFilter:
    """The filters. Raises InvalidRequest, InvalidEnum."""
    status = fields.get("Status")
    if status is not None:
        one_of(*get_args(CallStatus))("Status", status)
    return CallFilter(
        status=None if status is None else str(status),
        to=_party(fields, "To"),
        from_=_party(fields, "From"),
        started=_window(fields, "StartTime"),
        ended=_window(fields, "EndTime"),
    )


def stream_filter(fields: Fields) -> StreamFilter:
    """The filters of the list of an account's streams. Raises InvalidRequest, InvalidEnum."""
    status, call, name = (fields.get(one) for one in ("Status", "CallSid", "Name"))
    if status is not None:
        one_of(*get_args(StreamStatus))("Status", status)
    return StreamFilter(
        status=None if status is None else str(status),
        call=None if call is None else CallSid(text("CallSid", call)),
        name=None if name is None else text("Name", name),
    )


CREATED_FILTERS = tuple(f"DateCreated{suffix}" for suffix in ("", "_gt", "_lt"))


def recording_filter(fields: Fields, call: CallSid | None = None) -> RecordingFilter:
    """The filters of a list of recordings. Raises InvalidRequest."""
    first, last = list[datetime](), list[datetime]()
    for name, sign in zip(CREATED_FILTERS, ("", ">", "<"), strict=True):
        if (value := fields.get(name)) is None:
            continue
        given, begin, end = _moment(name, text(name, value))
        first += [begin] if (sign or given) != "<" else []
        last += [end] if (sign or given) != ">" else []
    return RecordingFilter(call, (max(first, default=None), min(last, default=None)))


def _moment(name: str, value: str) -> tuple[str, datetime, datetime]:
    """`<`, `>` or nothing; the beginnings of a UTC day and of the next, or of a second and of the next."""
    found = _MOMENT.fullmatch(value)
    try:
        if found:
            given = datetime.fromisoformat(found[2])
            at = (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
            return found[1], at, at + (timedelta(seconds=1) if "T" in value else timedelta(days=1))
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(f"{name} must be a date or a time as YYYY-MM-DDThh:mm:ssZ", pointer=f"/{name}")


def _number(fields: Fields, name: str, default: int, least: int, most: int) -> int:
    value = fields.get(name)
    if value is None:
        return default
    number = int(given) if _NUMBER.fullmatch(given := text(name, value)) else -1
    if not least <= number <= most:
        raise InvalidRequest(f"{name} must be a number from {least} to {most}", pointer=f"/{name}")
    return number


def _party(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else party(name, value)


def _window(fields: Fields, name: Literal["StartTime", "EndTime"]) -> tuple[datetime | None, datetime | None]:
    """Not before, before: what is common to the day, the `_gt` and the `_lt` that are given."""
    day, after, before = (_day(fields, name + suffix) for suffix in ("", "_gt", "_lt"))
    first = [given[0] for given in (day, after) if given]
    last = [given[1] for given in (day, before) if given]
    return max(first, default=None), min(last, default=None)


def _day(fields: Fields, name: str) -> tuple[datetime, datetime] | None:
    """The beginnings of a UTC day and of the next."""
    value = fields.get(name)
    if value is None:
        return None
    fault = InvalidRequest(f"{name} must be a date as YYYY-MM-DD", pointer=f"/{name}")
    given = text(name, value)
    if not _DAY.fullmatch(given):
        raise fault
    try:
        at = datetime.fromisoformat(given).replace(tzinfo=UTC)
        return at, at + timedelta(days=1)
    except (ValueError, OverflowError):
        raise fault from None
