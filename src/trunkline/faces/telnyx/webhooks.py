"""What customers' servers are sent, as the `webhooks` of the OpenAPI document: callbacks and requests for documents.

The fields are those of `callbacks.py` and of `texml/` (docs/reference/callbacks.md, docs/reference/texml.md), in the
order in which they are sent. All values are strings. Pure.
"""

from collections.abc import Mapping
from typing import get_args

from trunkline.api.operation import TEXT, TIME, Schema, Webhook
from trunkline.calls.endings import Source
from trunkline.calls.views import RECORDING_EVENTS, CallStatus, RecordingSource
from trunkline.codecs import CODEC_TABLE
from trunkline.faces.telnyx.operations.base import ACCOUNT, CALL, STREAM

_UUID: Schema = {"type": "string", "format": "uuid"}
_WHOLE: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_SECONDS: Schema = {**_WHOLE, "description": "Whole seconds."}
_AT = "2026-06-05T08:54:19.698408Z"
ENDED: tuple[CallStatus, ...] = ("completed", "busy", "no-answer", "canceled", "failed")
HANGUP_CAUSES = (
    *("normal_clearing", "time_limit", "originator_cancel", "user_busy", "call_rejected", "timeout", "not_found"),
    *("unreachable", "unspecified"),
)


def _described(text: str, schema: Schema = TEXT) -> Schema:
    return {**schema, "description": text}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


_SIDS: Mapping[str, Schema] = {
    "AccountSid": _described("The account's sid.", _UUID),
    "CallSid": _described("The call's sid."),
    "CallSidLegacy": _described("The same."),
}
_SIDS_EXAMPLE = {"AccountSid": ACCOUNT, "CallSid": CALL, "CallSidLegacy": CALL}

# ── of a stream ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _stream(name: str, summary: str, *events: str, more: Mapping[str, Schema] | None = None) -> Webhook:
    fields: dict[str, Schema] = {
        **_SIDS,
        "StreamSid": _described("The stream's sid.", _UUID),
        "StreamName": _described("The stream's name, empty without one."),
        "StreamEvent": _one_of(*events),
        "Timestamp": _described("When it happened.", TIME),
        **(more or {}),
    }
    example = {**_SIDS_EXAMPLE, "StreamSid": STREAM, "StreamName": "My stream", "StreamEvent": events[0]}
    example |= {"Timestamp": _AT} | ({"StreamError": "the app refused the connection"} if more else {})
    return Webhook(name, summary, fields, example)


_STREAM = (
    _stream("StreamStarted", "The stream's WebSocket is open, and `start` was sent.", "stream-started"),
    _stream("StreamStopped", "The stream has ended.", "stream-stopped"),
    _stream(
        "StreamFailed",
        "The stream has failed; `callbacks.error_event` chooses the name of the event.",
        "stream-error",
        "stream-failed",
        more={"StreamError": _described("The cause, for people.")},
    ),
)

# ── of a call ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _call(
    name: str,
    summary: str,
    statuses: tuple[str, ...],
    place: int,
    more: Mapping[str, tuple[Schema, str]] | None = None,
    optional: tuple[str, ...] = (),
) -> Webhook:
    """`more`: further fields, each with its example. `place`: of the event in the order of a call's events."""
    fields: dict[str, Schema] = {
        **_SIDS,
        "CallStatus": _one_of(*statuses),
        "CallbackSource": _one_of("call-progress-events"),
        "ConnectionId": _described("The application's sid, empty without one."),
        "From": _described("Who calls."),
        "To": _described("Who is called."),
        "SequenceNumber": _one_of(str(place)),
        "Timestamp": _described("When it happened.", TIME),
        "CallInitiatedAt": _described("When the call began.", TIME),
        "ParentCallSid": _described("Only of a call that a `<Dial>` placed: the call that dialled."),
        **{field: schema for field, (schema, _) in (more or {}).items()},
    }
    example = {
        **_SIDS_EXAMPLE,
        "CallStatus": statuses[0],
        "CallbackSource": "call-progress-events",
        "ConnectionId": "1293384261075731499",
        "From": "+13120001234",
        "To": "+13121230000",
        "SequenceNumber": str(place),
        "Timestamp": _AT,
        "CallInitiatedAt": "2026-06-05T08:53:09.698408Z",
        **{field: value for field, (_, value) in (more or {}).items()},
    }
    return Webhook(name, summary, fields, example, ("ParentCallSid", *optional))


_ANSWERED: Mapping[str, tuple[Schema, str]] = {
    "Codec": (_described("The call's codec.", _one_of(*CODEC_TABLE)), "PCMU"),
    "SamplingRate": (_described("Its RTP clock in Hz.", _WHOLE), "8000"),
}
_COMPLETED: Mapping[str, tuple[Schema, str]] = {
    "CallDuration": (_described("Whole seconds from the answer, `0` without one.", _WHOLE), "62"),
    "StartTime": (TIME, "2026-06-05T08:53:09.698408Z"),
    "AnsweredTime": (_described("Only if the call was answered.", TIME), "2026-06-05T08:53:17.698408Z"),
    "EndTime": (TIME, _AT),
    "HangupCause": (_one_of(*HANGUP_CAUSES), "normal_clearing"),
    "HangupSource": (_one_of(*get_args(Source)), "callee"),
    "SipHangupCause": (
        _described(
            "The status of the response that refused the call, `200` if it was answered, or `unspecified`.",
            {"type": "string", "pattern": "^([1-6][0-9][0-9]|unspecified)$"},
        ),
        "200",
    ),
}
_CALL = (
    _call("CallInitiated", "The call has begun.", ("initiated",), 0),
    _call("CallRinging", "The called party is alerted.", ("ringing",), 1),
    _call("CallAnswered", "The call is up.", ("in-progress",), 2, _ANSWERED, ("Codec", "SamplingRate")),
    _call("CallCompleted", "The call is over.", ENDED, 3, _COMPLETED, ("AnsweredTime",)),
)

# ── of a recording ──────────────────────────────────────────────────────────────────────────────────────────────────

_RECORDING_SID = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
_RECORDING_URL = _described(
    "Its wav file at this server's API, which needs the account's key.", {"type": "string", "format": "uri"}
)
_RECORDING_STATUS = Webhook(
    "RecordingStatus",
    "A recording has begun or is over.",
    {
        **_SIDS,
        "ConnectionId": _described("The application's sid, empty without one."),
        "RecordingSid": _described("The recording's sid.", _UUID),
        "RecordingStatus": _described("`absent`: it is over, and there is no audio.", _one_of(*RECORDING_EVENTS)),
        "RecordingChannels": _one_of("1", "2"),
        "RecordingSource": _one_of(*get_args(RecordingSource)),
        "RecordingTrack": _one_of("inbound", "outbound", "both"),
        "RecordingStartTime": TIME,
        "RecordingDuration": _described("Whole seconds; only when `completed`.", _WHOLE),
        "RecordingUrl": _described("Only when `completed`, unless `SendRecordingUrl` is false.", _RECORDING_URL),
    },
    {
        **_SIDS_EXAMPLE,
        "ConnectionId": "1293384261075731499",
        "RecordingSid": _RECORDING_SID,
        "RecordingStatus": "completed",
        "RecordingChannels": "2",
        "RecordingSource": "StartCallRecordingAPI",
        "RecordingTrack": "both",
        "RecordingStartTime": "2026-06-05T08:53:19.698408Z",
        "RecordingDuration": "12",
        "RecordingUrl": f"http://127.0.0.1:8080/v2/texml/Accounts/{ACCOUNT}/Recordings/{_RECORDING_SID}.wav",
    },
    ("RecordingDuration", "RecordingUrl"),
)

# ── of documents ────────────────────────────────────────────────────────────────────────────────────────────────────

_LIVE_STATUSES = get_args(CallStatus)
_DOCUMENT: Mapping[str, Schema] = {
    **_SIDS,
    "CallStatus": _one_of(*_LIVE_STATUSES),
    "CallerId": _described("The caller's name, else its number."),
    "From": _described("Who calls."),
    "To": _described("Who is called."),
    "FromSipUri": _described("The caller's SIP URI."),
    "ToSipUri": _described("The called SIP URI."),
    "Direction": _one_of("inbound", "outbound"),
    "ConnectionId": _described("The application's sid, empty without one."),
    "ParentCallSid": _described("Only of a call that a `<Dial>` placed: the call that dialled."),
}
_DOCUMENT_EXAMPLE = {
    **_SIDS_EXAMPLE,
    "CallStatus": "ringing",
    "CallerId": "+13120001234",
    "From": "+13120001234",
    "To": "+13121230000",
    "FromSipUri": "sip:+13120001234@192.0.2.20",
    "ToSipUri": "sip:+13121230000@192.0.2.10",
    "Direction": "inbound",
    "ConnectionId": "1293384261075731499",
}
_FREE: Mapping[str, Schema] = {"^SipHeader_[Xx]-": _described("A header of the INVITE whose name begins with `X-`.")}
_RECORDING: Mapping[str, tuple[Schema, str]] = {
    "RecordingUrl": (_RECORDING_URL, _RECORDING_STATUS.example["RecordingUrl"]),
    "RecordingSid": (_described("The recording's sid.", _UUID), _RECORDING_SID),
    "RecordingDuration": (_SECONDS, "12"),
}
_PRESSED: Mapping[str, tuple[Schema, str]] = {
    "Digits": (_described("The keys that were pressed."), "1"),
    "FinishedOnKey": (_described("The key that ended it, empty if none did."), ""),
}
_RECORDED: Mapping[str, tuple[Schema, str]] = {
    **_RECORDING,
    "Digits": (_described("The key that ended it, `hangup` if the caller hung up, or empty."), "#"),
}
_DIALLED: Mapping[str, tuple[Schema, str]] = {
    "DialCallStatus": (_one_of(*ENDED), "completed"),
    "DialCallSid": (_described("The sid of the call that was placed."), CALL),
    "DialCallDuration": (_SECONDS, "62"),
}
_TEXML = "<Response><Say>Hello.</Say></Response>"


def _document(
    name: str, summary: str, more: Mapping[str, tuple[Schema, str]] | None = None, answer: str | None = _TEXML
) -> Webhook:
    fields = {**_DOCUMENT, **{field: schema for field, (schema, _) in (more or {}).items()}}
    example = {**_DOCUMENT_EXAMPLE, **{field: value for field, (_, value) in (more or {}).items()}}
    return Webhook(name, summary, fields, example, ("ParentCallSid",), _FREE, answer)


_TEXML_REQUESTS = (
    _document("Document", "What is to be done with the call? The answer is TeXML, or audio that is played."),
    _document("GatherAction", "Keys were pressed in a `<Gather>`.", _PRESSED),
    _document("RecordAction", "A `<Record>` is over.", _RECORDED),
    _document("DialAction", "A `<Dial>` is over.", _DIALLED),
)

WEBHOOKS = (*_STREAM, *_CALL, _RECORDING_STATUS, *_TEXML_REQUESTS)
