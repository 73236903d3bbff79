"""The SIP messages of calls as they are shown: those of `sip.trace`, without what is secret; and those of failed calls,
which go to the store a moment after the end."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import msgspec

from trunkline.calls.views import CallView, SipMessageView, SipTraceView
from trunkline.config import SipSettings
from trunkline.control.runner import utc_now
from trunkline.ids import AccountSid, CallSid
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.trace import Mask, SipTrace, TracedCall, cseq, summary
from trunkline.sip.transport.hep_sender import HepSender
from trunkline.store.records import TraceRecord
from trunkline.store.writer import Writer

STORE_AFTER = 1.0
"""Seconds from the end of a call until its messages are stored: the ACK to a refusal is still to come."""
HEAD = 500
"""Bytes of what is stored beside the messages, about."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SipTraceView).decode


class SipTraces:
    """Of this server."""

    def __init__(self, settings: SipSettings) -> None:
        self.trace = SipTrace(settings.trace)
        self.mask = Mask(settings.trace.mask_headers)
        self._settings = settings.trace
        self._hep = settings.hep
        self._sender: HepSender | None = None
        self._writer: Writer | None = None
        self.due: dict[CallSid, tuple[AccountSid, asyncio.TimerHandle]] = {}
        """Calls that are to be stored."""

    @contextmanager
    def storing(self, writer: Writer) -> Iterator[None]:
        """Give it what stores. At the end it stores what is due, and sends nothing more."""
        self._writer = writer
        yield
        for call, (_, timer) in [*self.due.items()]:
            timer.cancel()
            self._store(call)
        self._writer = None
        if self._sender is not None:
            self._sender.close()

    def observe(self, sip: SipEndpoint) -> None:
        """Keep the messages of an endpoint, and send them to a capture server if there is one."""
        self.trace.counters = sip.counters
        if self._hep.target is not None:
            self._sender = HepSender(self._hep, self.mask, sip.counters)
        sip.trace(self._seen)

    def _seen(self, direction: str, data: bytes, local: str, peer: str, transport: str) -> None:
        now = utc_now()
        self.trace.seen(direction, data, local, peer, transport, now)
        if self._sender is not None:
            self._sender.seen(direction, data, local, peer, transport, now)

    def of_call(self, account: AccountSid, call: CallSid) -> SipTraceView | None:
        """What memory has of a call of an account."""
        found = self.trace.of_call(account, call)
        return None if found is None or not found.count else self._view(found, call)

    def refused(self) -> list[SipTraceView]:
        """INVITEs that became no call, the newest first."""
        return [self._view(dialog, None) for dialog in self.trace.unclaimed()]

    def forget(self, calls: Iterable[CallSid]) -> None:
        """Keep nothing of those calls."""
        gone = [*calls]
        self.trace.forget(gone)
        for call in gone:
            if call in self.due:
                self.due.pop(call)[1].cancel()

    def ended(self, call: CallView) -> None:
        """A call is over: store its messages soon, if it is of those that are stored."""
        if call.status == "failed" if self._settings.store == "failed" else self._settings.store == "all":
            timer = asyncio.get_running_loop().call_later(STORE_AFTER, self._store, call.sid)
            self.due[call.sid] = call.account_sid, timer

    def _store(self, call: CallSid) -> None:
        account, _ = self.due.pop(call)
        found = self.of_call(account, call)
        if found is None or not found.messages or self._writer is None or self._writer.full:
            return
        text = stored(found, self._settings.store_limit)
        self._writer.submit(traces=[TraceRecord(call, account, utc_now(), text)])

    def _view(self, dialog: TracedCall, call: CallSid | None) -> SipTraceView:
        return SipTraceView(call, dialog.call_id, tuple(self._messages(dialog)), dialog.dropped)

    def _messages(self, dialog: TracedCall) -> Iterable[SipMessageView]:
        for one in dialog.messages:
            text = self.mask(one.data)
            yield SipMessageView(
                *(one.number, one.at, one.direction, one.local, one.peer, one.transport),
                *(summary(text), cseq(text), text),
            )


def stored(view: SipTraceView, limit: int) -> str:
    """A trace as a text of at most `limit` bytes, for `restored`: without its last messages where it is longer."""
    sizes = accumulate(len(_encode(one)) + 1 for one in view.messages)
    kept = sum(size <= limit - HEAD for size in sizes)
    dropped = view.dropped + len(view.messages) - kept
    return _encode(SipTraceView(view.call_sid, view.sip_call_id, view.messages[:kept], dropped)).decode()


def restored(text: str) -> SipTraceView:
    """What `stored` made."""
    return _decode(text)
