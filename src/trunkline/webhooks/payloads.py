"""What a status callback says (spec section 3), and how it is put into a request.

A callback is rendered once, when the event happens, and stored as text: what is sent after a restart, or by a later
version, is what would have been sent at once.
"""

from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from trunkline.calls.views import StreamEvent
from trunkline.config import CallbackSettings
from trunkline.store.records import CallbackRecord

FORM_TYPE = "application/x-www-form-urlencoded"


def callback_of(event: StreamEvent, settings: CallbackSettings, callback_id: str) -> CallbackRecord | None:
    """The callback that tells of an event; None when the stream has no `StatusCallback`.

    `callback_id` is a fresh UUID, the `webhook-id` of every try.
    """
    stream = event.stream
    if not stream.status_callback:
        return None
    return CallbackRecord(
        id=callback_id,
        key=stream.sid,
        host=host_of(stream.status_callback),
        call_sid=stream.call_sid,
        stream_sid=stream.sid,
        url=stream.status_callback,
        method="GET" if stream.status_callback_method == "GET" else "POST",
        form=urlencode(stream_form(event, settings), errors="replace"),
        created_at=event.at,
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


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds, as the WebSocket's `occurred_at` has them."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def request_parts(record: CallbackRecord) -> tuple[str, bytes]:
    """URL and body. A GET has the form in its query, behind the one that the URL brings, and an empty body.

    Raises ValueError for a URL that nobody can call: no host, or a port that is none.
    """
    parts = urlsplit(record.url)
    if not parts.hostname or parts.port == 0:
        raise ValueError("not a URL of a host")
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
