"""What the status callbacks of streams and calls say (docs/reference/callbacks.md). Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

from trunkline.calls.views import CALL_EVENTS, CallEvent, CallEventKind, CallView, RecordingEvent, StreamEvent
from trunkline.codecs import CODEC_TABLE
from trunkline.config import CallbackSettings
from trunkline.webhooks.payloads import CallbackFace


def stream_form(event: StreamEvent, settings: CallbackSettings) -> list[tuple[str, str]]:
    """The parameters, in the documented order."""
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


def recording_form(event: RecordingEvent, url: str) -> list[tuple[str, str]]:
    """The parameters, in the documented order."""
    view = event.recording
    form = [
        ("AccountSid", str(view.account_sid)),
        ("CallSid", str(view.call_sid)),
        ("CallSidLegacy", str(view.call_sid)),
        ("ConnectionId", view.application_sid or ""),
        ("RecordingSid", view.sid),
        ("RecordingStatus", event.kind),
        ("RecordingChannels", str(view.channels)),
        ("RecordingSource", view.source),
        ("RecordingTrack", view.track),
        ("RecordingStartTime", timestamp(view.created_at)),
    ]
    if event.kind == "completed":
        form.append(("RecordingDuration", str(int(view.duration or 0))))
        form += [("RecordingUrl", url)] if view.sends_url else []
    return form


_STATUS: Mapping[CallEventKind, str] = {"initiated": "initiated", "ringing": "ringing", "answered": "in-progress"}
"""`CallStatus` of the events; at the end it is the call's own."""


def call_form(event: CallEvent) -> list[tuple[str, str]]:
    """The parameters, in the documented order."""
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
        form += [("Codec", call.codec), ("SamplingRate", str(CODEC_TABLE[call.codec].clock_rate()))]
    if event.kind == "completed":
        form += _ending(call)
    return form


def _ending(call: CallView) -> list[tuple[str, str]]:
    """Times, status and cause. An answered call has no refusal; the INVITE's status was 200."""
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


CALLBACKS = CallbackFace(stream=stream_form, call=call_form, recording=recording_form)
