"""Calls and streams as JSON: the documented members in the documented order, null where there is no value.

Telnyx writes the dates of call resources as RFC 2822 and those of stream resources as ISO 8601; both are UTC here.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from trunkline.calls.diagnosis import MediaReport
from trunkline.calls.findings import Value
from trunkline.calls.views import Application, CallView, RecordingView, StreamView
from trunkline.faces.telnyx.fields.applications import DEFAULTS
from trunkline.faces.telnyx.queries import ApplicationQuery, Page
from trunkline.media.report import UNKNOWN_BELOW_0
from trunkline.outbound.urls import WebSocketUrl, public_part

BASE = "/v2/texml/Accounts"
PROFILE = "outbound_voice_profile_id"

_NORTH_AMERICAN = re.compile(r"\+1([0-9]{3})([0-9]{3})([0-9]{4})")


def rfc2822(at: datetime | None) -> str | None:
    """`Thu, 15 Jun 2023 09:56:45 +0000`."""
    return None if at is None else format_datetime(at.astimezone(UTC))


def iso8601(at: datetime) -> str:
    """`2023-08-11T19:12:11Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def formatted(number: str) -> str:
    """`(312) 345-6789` for a North American number; anything else as it is."""
    match = _NORTH_AMERICAN.fullmatch(number)
    return f"({match[1]}) {match[2]}-{match[3]}" if match else number


def call(view: CallView) -> dict[str, object]:
    """A call resource (docs/reference/rest.md#a-call), and of a dialled call the one that dialled. `duration`
    counts from the answer."""
    return {
        "account_sid": view.account_sid,
        "answered_by": None,
        "caller_name": view.caller_name,
        "date_created": rfc2822(view.created_at),
        "date_updated": rfc2822(view.updated_at),
        "direction": view.direction,
        "duration": None if view.duration is None else str(view.duration),
        "end_time": rfc2822(view.ended_at),
        "ended_reason": view.hangup_cause,
        "from": view.from_,
        "from_formatted": formatted(view.from_),
        "parent_call_sid": view.parent_sid,
        "price": None,
        "price_unit": None,
        "sid": view.sid,
        "start_time": rfc2822(view.created_at),
        "status": view.status,
        "to": view.to,
        "to_formatted": formatted(view.to),
        "uri": f"{BASE}/{view.account_sid}/Calls/{view.sid}.json",
    }


def placed_call(view: CallView) -> dict[str, object]:
    """The answer to an initiate: Telnyx's members, and the call's sids (docs/reference/rest.md#operations)."""
    return {
        "from": view.from_,
        "to": view.to,
        "status": "queued",
        "sid": view.sid,
        "call_sid": view.sid,
        "account_sid": view.account_sid,
    }


def started_stream(view: StreamView) -> dict[str, object]:
    """The answer to a start: exactly seven members (docs/reference/rest.md#operations)."""
    return {
        "account_sid": view.account_sid,
        "call_sid": view.call_sid,
        "sid": view.sid,
        "name": view.name,
        "status": "in-progress",
        "date_updated": iso8601(view.updated_at),
        "uri": f"{BASE}/{view.account_sid}/Calls/{view.call_sid}/Streams/{view.sid}.json",
    }


def updated_stream(view: StreamView, status: str) -> dict[str, object]:
    """The answer to an update: without `name`, with the requested status (docs/reference/rest.md#operations)."""
    members = started_stream(view) | {"status": status}
    del members["name"]
    return members


def stream(view: StreamView) -> dict[str, object]:
    """A stream as it is fetched: the members of a start, and what became of it."""
    return started_stream(view) | {
        "status": view.status,
        "track": view.track,
        "date_created": iso8601(view.created_at),
        "ended_reason": view.ended_reason,
        "report": None if view.report is None else view.report.counters(),
    }


def recording(view: RecordingView, media_url: str) -> dict[str, object]:
    """A recording (docs/reference/rest.md#operations). One that failed is `stopped`: Telnyx has no word for it."""
    return {
        "account_sid": view.account_sid,
        "call_sid": view.call_sid,
        "channels": view.channels,
        "conference_sid": None,
        "date_created": iso8601(view.created_at),
        "date_updated": iso8601(view.updated_at),
        "duration": None if view.duration is None else str(int(view.duration)),
        "ended_reason": view.error,
        "error_code": None,
        "media_url": media_url,
        "sid": view.sid,
        "source": view.source,
        "start_time": iso8601(view.created_at),
        "status": "stopped" if view.status == "failed" else view.status,
        "subresources_uris": {"transcriptions": None},
        "uri": f"{BASE}/{view.account_sid}/Recordings/{view.sid}.json",
    }


def changed_recording(view: RecordingView) -> dict[str, object]:
    """The answer to a start or an update (docs/reference/rest.md#operations)."""
    members = recording(view, "")
    for name in ("ended_reason", "media_url", "status", "subresources_uris"):
        del members[name]
    uri = f"{BASE}/{view.account_sid}/Calls/{view.call_sid}/Recordings/{view.sid}.json"
    return members | {"price": None, "price_unit": None, "track": view.track, "uri": uri}


def media(report: MediaReport) -> dict[str, object]:
    """What a call's media is doing, or did. `summary` is the first finding's text."""
    call = report.call
    return {
        "account_sid": call.account_sid,
        "call_sid": call.sid,
        "status": call.status,
        "live": report.live,
        "codec": call.codec,
        "summary": report.findings[0].text,
        "findings": [
            {
                "severity": finding.severity,
                "code": finding.code,
                "stream_sid": finding.stream,
                "text": finding.text,
                "numbers": _known(finding.numbers),
            }
            for finding in report.findings
        ],
        "leg": {} if report.leg is None else _known(report.leg.counters()),
        "streams": [
            {
                "sid": stream.view.sid,
                "name": stream.view.name,
                "url": WebSocketUrl.parse(stream.view.url).display(),
                "status": stream.view.status,
                "socket": stream.state,
                "track": stream.view.track,
                "mode": stream.view.mode,
                "codec": stream.view.codec,
                "report": {} if stream.report is None else stream.report.counters(),
            }
            for stream in report.streams
        ],
        "uri": f"{BASE}/{call.account_sid}/Calls/{call.sid}/media.json",
    }


def _known(numbers: Mapping[str, Value]) -> dict[str, Value | None]:
    return {name: None if name in UNKNOWN_BELOW_0 and value == -1 else value for name, value in numbers.items()}


def listing(kind: str, path: str, page: Page, members: list[dict[str, object]], more: bool) -> dict[str, object]:
    """One page of a list, under `kind`; `path` is the list's own. An empty page ends where it starts."""
    return {
        kind: members,
        "end": page.offset + max(len(members) - 1, 0),
        "first_page_uri": path + page.query(0),
        "next_page_uri": path + page.query(page.number + 1) if more else None,
        "page": page.number,
        "page_size": page.size,
        "start": page.offset,
        "uri": path + page.query(page.number),
    }


def application(view: Application, *, whole: bool) -> dict[str, object]:
    """A TeXML application (docs/reference/rest.md#operations), its dates with milliseconds; its URLs `whole`, or
    without user-info and query."""

    def url(given: str | None) -> str | None:
        return given if whole or given is None else public_part(given)

    other = {
        name: {**default, **view.other.get(name, {})} if isinstance(default, dict) else view.other.get(name, default)
        for name, default in DEFAULTS.items()
    }
    return {
        "id": view.sid,
        "record_type": "texml_application",
        "friendly_name": view.friendly_name,
        "active": view.active,
        "voice_url": url(view.voice_url),
        "voice_method": view.voice_method.lower(),
        "voice_fallback_url": url(view.voice_fallback_url),
        "status_callback": url(view.status_callback),
        "status_callback_method": view.status_callback_method.lower(),
        **other,
        "created_at": with_milliseconds(view.created_at),
        "updated_at": with_milliseconds(view.updated_at),
    }


def applications(views: list[Application], query: ApplicationQuery) -> dict[str, object]:
    """One page of a list of applications. `total_results` counts all that pass the filters."""
    found = [view for view in views if query.name in view.friendly_name.casefold()]
    if query.profile is not None:
        found = [view for view in found if view.other.get("outbound", {}).get(PROFILE) == query.profile]
    found.sort(key=lambda view: (getattr(view, query.sort), view.sid), reverse=query.descending)
    first = (query.number - 1) * query.size
    return {
        "data": [application(view, whole=False) for view in found[first : first + query.size]],
        "meta": {
            "page_number": query.number,
            "page_size": query.size,
            "total_pages": -(-len(found) // query.size),
            "total_results": len(found),
        },
    }


def with_milliseconds(at: datetime) -> str:
    """ISO 8601, as in `2020-02-02T22:25:27.521Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
