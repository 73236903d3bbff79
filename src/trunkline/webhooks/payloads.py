"""How a status callback, or a notice of a TeXML document, becomes a request. The face defines its fields.

A callback is rendered once, when the event happens, and stored as text: what is sent after a restart, or by a later
version, is what would have been sent at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from trunkline.calls.views import CallEvent, RecordingEvent, StreamEvent
from trunkline.config import CallbackSettings
from trunkline.ids import AccountSid, CallSid, StreamSid
from trunkline.store.records import CallbackRecord

FORM_TYPE = "application/x-www-form-urlencoded"

Form = Sequence[tuple[str, str]]
"""The parameters of a callback, in the documented order."""


@dataclass(frozen=True, slots=True)
class CallbackFace:
    """The forms of a face's status callbacks."""

    stream: Callable[[StreamEvent, CallbackSettings], Form]
    call: Callable[[CallEvent], Form]
    recording: Callable[[RecordingEvent, str], Form]
    """The second is the URL of the audio."""


def callback_of(
    event: StreamEvent, settings: CallbackSettings, callback_id: str, face: CallbackFace
) -> CallbackRecord | None:
    """The callback of a stream's event; None when the stream has no `StatusCallback`.

    `callback_id` is a fresh UUID, the `webhook-id` of every try.
    """
    stream = event.stream
    target = (stream.status_callback, stream.status_callback_method)
    form = face.stream(event, settings)
    return record_of(callback_id, target, form, event.at, stream.account_sid, stream.call_sid, stream.sid)


def call_callback_of(event: CallEvent, callback_id: str, face: CallbackFace) -> CallbackRecord | None:
    """The callback of a call's event; None when the call has no `StatusCallback`, or not for that event."""
    call = event.call
    if event.kind not in call.status_callback_events.split():
        return None
    target = (call.status_callback, call.status_callback_method)
    return record_of(callback_id, target, face.call(event), event.at, call.account_sid, call.sid)


def recording_callback_of(
    event: RecordingEvent, url: str, at: datetime, callback_id: str, face: CallbackFace
) -> CallbackRecord | None:
    """The callback of a recording's event; None when it has no `RecordingStatusCallback`, or not for that event.
    `url`: of its audio."""
    view = event.recording
    if event.kind not in view.status_callback_events.split():
        return None
    target = (view.status_callback, view.status_callback_method)
    return record_of(callback_id, target, face.recording(event, url), at, view.account_sid, view.call_sid)


def record_of(
    callback_id: str,
    target: tuple[str | None, str],
    form: Form,
    at: datetime,
    account: AccountSid,
    call: CallSid,
    stream: StreamSid | None = None,
) -> CallbackRecord | None:
    """A callback with `form`; None without a URL. `target` is URL and method. Callbacks about one call or stream to one
    host go out in order, and wait for no other host."""
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


def request_parts(record: CallbackRecord) -> tuple[str, bytes]:
    """URL and body. A GET has the form in its query, behind the one that the URL brings, and an empty body."""
    if record.method == "POST":
        return record.url, record.form.encode()
    url = record.url.partition("#")[0]
    return url + ("&" if "?" in url else "?") + record.form, b""


def host_of(url: str) -> str:
    """Scheme, host and port in lower case; empty if it is not a URL."""
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
