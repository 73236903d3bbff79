"""What a status callback says (spec sections 3 and 5), and how it and TeXML's notices are put into a request.

A callback is rendered once, when the event happens, and stored as text: what is sent after a restart, or by a later
version, is what would have been sent at once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from trunkline.calls.views import CALL_EVENTS, CallEvent, CallEventKind, CallView, StreamEvent
from trunkline.config import CallbackSettings
from trunkline.ids import AccountSid, CallSid, StreamSid
from trunkline.store.records import CallbackRecord

FORM_TYPE = "application/x-www-form-urlencoded"


def callback_of(event: StreamEvent, settings: CallbackSettings, callback_id: str) -> CallbackRecord | None:
    """The callback that tells of a stream's event; None when the stream has no `StatusCallback`.

    `callback_id` is a fresh UUID, the `webhook-id` of every try.
    """
    stream = event.stream
    target = (stream.status_callback, stream.status_callback_method)
    form = stream_form(event, settings)
    return record_of(callback_id, target, form, event.at, stream.account_sid, stream.call_sid, stream.sid)


def call_callback_of(event: CallEvent, callback_id: str) -> CallbackRecord | None:
    """The callback that tells of a call's event; None when the call has no `StatusCallback`, or not for that event."""
    call = event.call
    if event.kind not in call.status_callback_events.split():
        return None
    target = (call.status_callback, call.status_callback_method)
    return record_of(callback_id, target, call_form(event), event.at, call.account_sid, call.sid)


def record_of(
    callback_id: str,
    target: tuple[str | None, str],
    form: Sequence[tuple[str, str]],
    at: datetime,
    account: AccountSid,
    call: CallSid,
    stream: StreamSid | None = None,
) -> CallbackRecord | None:
    """A callback that says `form`; None without a URL. `target` is URL and method. What one host is told of one call,
    or of one stream, goes out in order, and waits for no other host."""
    url, method = target
    if not url:
        return None
    host = host_of(url)
    return CallbackRecord(
        id=callback_id,
        key=f"{stream or call} {host}",
        host=f"{account} {host}",
        call_sid=call,
        stream_sid=stream,
        url=url,
        method="GET" if method == "GET" else "POST",
        form=urlencode(form, errors="replace"),
        created_at=at,
    )


def stream_form(event: StreamEvent, settings: CallbackSettings) -> list[tuple[str, str]]:
    """The parameters, in the documented order (spec section 3)."""
    stream = event.stream
    kind = settings.error_event if event.kind == "stream-error" else event.kind
    form = [
        ("AccountSid", str(stream.account_sid)),
        ("CallSid", str(stream.call_sid)),
        ("CallSidLegacy", str(stream.call_sid)),
        ("StreamSid", str(stream.sid)),
        ("StreamName", stream.name or ""),
        ("StreamEvent", kind),
        ("Timestamp", timestamp(event.at)),
    ]
    if event.kind == "stream-error":
        form.append(("StreamError", event.error or ""))
    return form


_STATUS: Mapping[CallEventKind, str] = {"initiated": "initiated", "ringing": "ringing", "answered": "in-progress"}
"""`CallStatus` of the events; at the end it is the call's own."""


def call_form(event: CallEvent) -> list[tuple[str, str]]:
    """The parameters, in the documented order (spec section 5)."""
    call = event.call
    form = [
        ("AccountSid", str(call.account_sid)),
        ("CallSid", str(call.sid)),
        ("CallSidLegacy", str(call.sid)),
        ("CallStatus", _STATUS.get(event.kind, call.status)),
        ("CallbackSource", "call-progress-events"),
        ("ConnectionId", call.application_sid or ""),
        ("From", call.from_),
        ("To", call.to),
        ("SequenceNumber", str(CALL_EVENTS.index(event.kind))),
        ("Timestamp", timestamp(event.at)),
        ("CallInitiatedAt", timestamp(call.created_at)),
    ]
    if call.parent_sid:
        form.append(("ParentCallSid", call.parent_sid))
    if event.kind == "answered" and call.codec:
        form += [("Codec", call.codec), ("SamplingRate", "48000" if call.codec == "OPUS" else "8000")]
    if event.kind == "completed":
        form += _ending(call)
    return form


def _ending(call: CallView) -> list[tuple[str, str]]:
    """How it went. A call that was answered has no refusal to tell the status of, and the INVITE's was 200."""
    times = (("StartTime", call.created_at), ("AnsweredTime", call.answered_at), ("EndTime", call.ended_at))
    status = call.sip_status or (200 if call.answered_at else None)
    return [
        ("CallDuration", str(call.duration or 0)),
        *((name, timestamp(at)) for name, at in times if at is not None),
        ("HangupCause", call.hangup_code or "unspecified"),
        ("HangupSource", call.hangup_source or "system"),
        ("SipHangupCause", str(status or "unspecified")),
    ]


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds, as the WebSocket's `occurred_at` has them."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def request_parts(record: CallbackRecord) -> tuple[str, bytes]:
    """URL and body. A GET has the form in its query, behind the one that the URL brings, and an empty body."""
    if record.method == "POST":
        return record.url, record.form.encode()
    url = record.url.partition("#")[0]
    return url + ("&" if "?" in url else "?") + record.form, b""


def host_of(url: str) -> str:
    """Scheme, host and port in lower case; empty for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def masked(url: str) -> str:
    """A URL for logs: without user-info, query and fragment, where secrets are."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return "(not a URL)"
    return host_of(url) + path + ("?…" if "?" in url else "")
