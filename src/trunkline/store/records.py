"""Values to rows and back, and the two values that the outbox keeps.

Everything that could make a database refuse a row is taken out here, before the row is queued: a NUL character
(PostgreSQL has no text with one), a lone surrogate (no encoding of it). Such characters arrive from the network, in
names and header fields, and become U+FFFD.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, get_args

from trunkline.calls.views import Application, CallbackView, CallView, RecordingView, StreamView
from trunkline.ids import AccountSid, CallSid, StreamSid
from trunkline.media.report import LegReport
from trunkline.streaming.params import StreamReport

Row = dict[str, Any]
NOTES = "notes"
"""In the stored report of a call: the warnings about its instructions, a line each."""


@dataclass(frozen=True, slots=True)
class CallbackRecord:
    """One status callback or notice, as stored before it is sent."""

    id: str
    """A UUID; `webhook-id` on the wire, the same at every try."""
    key: str
    """Callbacks with the same key are sent one after the other: the sid of the stream or call, and the host."""
    host: str
    """Account, a blank, and scheme, host and port of `url`: what is limited together when it does not answer."""
    call_sid: CallSid
    stream_sid: StreamSid | None
    url: str
    method: Literal["GET", "POST"]
    form: str
    """The parameters, form-encoded."""
    created_at: datetime
    tries: int = 0
    """Tries made so far."""
    next_try_at: datetime | None = None
    """None: at once."""
    position: int = 0
    """Place in the order of storing; given by the writer."""

    @property
    def account(self) -> str:
        """Empty in records of versions without accounts in `host`."""
        return self.host.rpartition(" ")[0]


@dataclass(frozen=True, slots=True)
class CallbackResult:
    """What became of a callback after a try."""

    id: str
    state: Literal["pending", "delivered", "failed"]
    tries: int
    last_status: int | None
    """HTTP status of the last answer; None when there was none."""
    last_error: str | None
    next_try_at: datetime | None
    """Set while pending."""
    finished_at: datetime | None
    """Set once delivered or failed."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """The SIP messages of a call, as stored."""

    call_sid: CallSid
    account_sid: AccountSid
    created_at: datetime
    trace: str
    """As JSON."""


RESULT_CHANGES = tuple(field.name for field in fields(CallbackResult) if field.name != "id")
"""The columns that a result changes."""

_CALLBACK_VIEW = tuple(field.name for field in fields(CallbackView))
_CALLBACK_FIELDS = tuple(field.name for field in fields(CallbackRecord))


def application_row(application: Application) -> Row:
    """The row of an application."""
    row = _row(application)
    del row["texml"]
    return row


def contacts_row(user: str, saved: str) -> Row:
    """The row of a phone's contacts."""
    return {"user": _plain(user), "saved": _plain(saved)}


def call_row(view: CallView, dialog: str | None = None) -> Row:
    """The row of a call, with the text of its SIP dialog. Counters and notes are one object."""
    row = _row(view)
    row["dialog"] = None if dialog is None else _plain(dialog)
    kept: dict[str, Any] = {} if view.report is None else view.report.counters()
    if view.notes:
        kept[NOTES] = "\n".join(view.notes)
    del row["notes"]
    row["report"] = json.dumps(kept) if kept else "{}"
    return row


def stream_row(view: StreamView) -> Row:
    """The row of a stream."""
    return _row(view) | {"report": json.dumps({} if view.report is None else view.report.counters())}


def recording_row(view: RecordingView) -> Row:
    """The row of a recording."""
    return _row(view)


def trace_row(record: TraceRecord) -> Row:
    """The row of a call's SIP messages."""
    return _row(record)


def callback_row(record: CallbackRecord) -> Row:
    """The row of a callback that has not been tried yet."""
    return _row(record) | {"state": "pending", "last_status": None, "last_error": None, "finished_at": None}


def result_row(result: CallbackResult) -> Row:
    """The changes of a callback's row; `of_id` says which one, as a column's own name cannot in an UPDATE."""
    row = _row(result)
    row["of_id"] = row.pop("id")
    return row


def application(row: Mapping[str, Any]) -> Application:
    """A row of `applications` as a value."""
    return Application(**(dict(row) | {"other": json.loads(row["other"])}))


def call_view(row: Mapping[str, Any]) -> CallView:
    """A row of `calls` as a value."""
    kept = json.loads(row["report"])
    notes = tuple(kept.pop(NOTES, "").splitlines())
    values = dict(row) | {"report": LegReport.read(kept), "notes": notes}
    del values["dialog"]
    return CallView(**values)


def stream_view(row: Mapping[str, Any]) -> StreamView:
    """A row of `streams` as a value."""
    return StreamView(**(dict(row) | {"report": StreamReport.read(json.loads(row["report"]))}))


def recording_view(row: Mapping[str, Any]) -> RecordingView:
    """A row of `recordings` as a value."""
    return RecordingView(**row)


def callback_record(row: Mapping[str, Any]) -> CallbackRecord:
    """A row of `callbacks` as a value."""
    return CallbackRecord(**{name: row[name] for name in _CALLBACK_FIELDS})


def callback_view(row: Mapping[str, Any]) -> CallbackView:
    """A row of `callbacks` as it is shown."""
    return CallbackView(**{name: row["id" if name == "sid" else name] for name in _CALLBACK_VIEW})


_Value = Application | CallView | StreamView | RecordingView | CallbackRecord | CallbackResult | TraceRecord
_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in get_args(_Value)}
_READERS = {kind: attrgetter(*names) for kind, names in _NAMES.items()}
"""Read all fields of a value at once."""


def _row(value: _Value) -> Row:
    row = dict(zip(_NAMES[type(value)], _READERS[type(value)](value), strict=True))
    for name, given in row.items():
        if given.__class__ is str:  # of three hundred values in a set-up; `isinstance` would be a call
            if not given.isascii() or "\0" in given:
                row[name] = _plain(given)
        elif isinstance(given, dict):
            row[name] = json.dumps(given)
    return row


def _plain(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
