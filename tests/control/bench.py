"""A runner on a real model, directory, store and writer; what signalling, media workers and the script are given is
kept as values."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec
import pytest

from trunkline.calls import commands, events
from trunkline.calls.call import CallState
from trunkline.calls.commands import CallRequest, Command, Instructions, Route
from trunkline.calls.directory import Directory
from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.registry import LiveCall
from trunkline.config import Settings
from trunkline.control.captures import Captures
from trunkline.control.destinations import Destinations
from trunkline.control.recordings import Recordings
from trunkline.control.runner import Runner
from trunkline.control.service import CallService
from trunkline.control.sip_traces import SipTraces
from trunkline.faces.telnyx.callbacks import CALLBACKS
from trunkline.faces.telnyx.face import TELNYX
from trunkline.ids import AccountSid, IdsOfLife, LegId, new_life
from trunkline.media.report import LegReport
from trunkline.outbound.egress import Egress, EgressRules
from trunkline.sdp.session import parse
from trunkline.sdp.values import Endpoint
from trunkline.setting_tables import derived_sid
from trunkline.sip import values as sip
from trunkline.sip.values import DialogId
from trunkline.store.records import CallbackRecord
from trunkline.store.store import Store
from trunkline.store.writer import Writer
from trunkline.workers import messages, reports

LOCAL = Endpoint("203.0.113.1", 20000)
"""Where a worker opens a leg."""
ACCOUNT = AccountSid("5f1c9d2e-0000-4000-8000-000000000001")
NOW = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
BOT = derived_sid("bot")
APPLICATION = {"name": "bot", "voice_url": "http://a/v", "voice_method": "GET", "voice_fallback_url": "http://b/v",
               "status_callback": "http://a/s", "status_callback_method": "GET"}  # fmt: skip
GIVEN: dict[str, Any] = {
    "applications": [APPLICATION],
    "numbers": [{"pattern": "+1", "application": "bot"}],
    "sip": {
        "phones": [{"user": "ann", "password": "x", "srtp": "required", "caller_id": "+4930"}],
        "trunks": [
            {"name": "carrier", "targets": ["sip:c.test"], "application": "bot"},
            {"name": "safe", "targets": ["sip:s.test"], "srtp": "required"},
        ],
    },
    "media": {"advertised_host": "203.0.113.1", "codecs": ["PCMA"]},
    "streams": {"per_call_limit": 2, "bidirectional_per_call": 1},
}
HEADERS = (("X-Ref", "7"),)


def sdp(codecs: str = "8", address: str = "IP4 192.0.2.7", profile: str = "RTP/AVP") -> Any:
    lines = f"v=0\r\no=- 1 1 IN {address}\r\ns=-\r\nc=IN {address}\r\nt=0 0\r\nm=audio 4000 {profile} {codecs}\r\n"
    return parse(lines.encode())


class Signalling:
    """What signalling is given."""

    def __init__(self) -> None:
        self.done: list[sip.SipAction] = []
        self.started = True
        self.local = Endpoint("192.0.2.1", 5060)
        self._numbers = count(100)
        self.ended: list[tuple[str, str, str]] = []
        """Dialogs of an earlier life."""
        self.saved: list[DialogId] = []
        self.kept = "dialog {}"

    def perform(self, action: sip.SipAction) -> None:
        self.done.append(action)

    def new_dialog(self) -> DialogId:
        return DialogId(next(self._numbers))

    def call_id_of(self, dialog: DialogId) -> str | None:
        """As the endpoint has it for calls that are placed."""
        return f"{dialog}@here"

    def saved_dialog(self, dialog: DialogId) -> str:
        self.saved.append(dialog)
        return self.kept.format(dialog)

    def end_saved_dialog(self, text: str, reason: str, call_sid: str) -> None:
        self.ended.append((text, reason, call_sid))


class Media:
    """What the media workers are given."""

    def __init__(self) -> None:
        self.orders: list[tuple[LegId, msgspec.Struct]] = []
        self.placed: list[tuple[LegId, LegId | None]] = []
        self.released: list[LegId] = []
        self.running = True
        self.refusal: str | None = None
        self.reported: messages.Reported | None = None
        """What a worker answers when it is asked."""

    def place(self, leg: LegId, same_worker_as: LegId | None = None) -> bool:
        self.placed.append((leg, same_worker_as))
        return self.running

    def send(self, leg: LegId, order: msgspec.Struct) -> None:
        self.orders.append((leg, order))

    def release(self, leg: LegId) -> None:
        self.released.append(leg)

    async def report(self, leg: LegId) -> messages.Reported:
        return self.reported or messages.Reported(int(leg), None, [])


@dataclass
class RecordingScript:
    """A script that keeps what it receives, in order, with the state of the call at that moment."""

    all: list[tuple[LiveCall, events.Fact | Command, CallState]] = field(default_factory=list)
    began: list[tuple[LiveCall, Instructions]] = field(default_factory=list)
    redirected: list[tuple[LiveCall, Instructions]] = field(default_factory=list)
    fault: Exception | None = None
    applied: asyncio.Queue[LiveCall] = field(default_factory=asyncio.Queue)
    """The call of each of these."""

    def start(self, entry: LiveCall, instructions: Instructions) -> None:
        self.began.append((entry, instructions))

    def redirect(self, entry: LiveCall, instructions: Instructions) -> None:
        self.redirected.append((entry, instructions))

    def on_applied(self, entry: LiveCall, what: events.Fact | Command) -> None:
        self.all.append((entry, what, entry.call.state))
        self.applied.put_nowait(entry)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault


IDS = IdsOfLife(TELNYX.ids, new_life(bytes(5)))


@dataclass
class Bench:
    settings: Settings
    store: Store
    stored: list[CallbackRecord] = field(default_factory=list)
    signalling: Signalling = field(default_factory=Signalling)
    media: Media = field(default_factory=Media)
    script: RecordingScript = field(default_factory=RecordingScript)
    writer: Writer = field(init=False)
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        self.writer = Writer(self.store, self.settings.store, self.stored.extend)
        files = RecordingFiles(self.store.directory, lambda: "http://us")
        self.recordings = Recordings(files, IDS, self.writer, self.store, self.settings.store, {}, CALLBACKS)
        self.directory = Directory(self.settings, ACCOUNT, (), NOW)
        self.destinations = Destinations(Egress(EgressRules.of(self.settings, ACCOUNT)))
        self.captures = Captures(self.settings.streams)
        self.traces = SipTraces(self.settings.sip)
        media: Any = self.media
        self.runner = Runner(
            self.settings, ACCOUNT, self.directory, media, self.writer, CALLBACKS, IDS, self.recordings
        )
        self.runner.connect(cast(Any, self.signalling), self.script)
        self.writer.start()

    def beep(self) -> Path:
        """The file of a beep."""
        return Path("/tones/beep.wav")

    def service(self, captures: Captures | None = None) -> CallService:
        """What answers for the API, over all this."""
        parts = (self.recordings, self.destinations, captures or self.captures, self.beep, self.traces)
        return CallService(self.runner, self.directory, self.store, self.writer, *parts)

    async def callbacks(self) -> list[dict[str, str]]:
        """The forms of all status callbacks, once all is stored."""
        await self.writer.submit()
        return [dict(parse_qsl(record.form)) for record in self.stored]

    async def invited(self, dialog: int = 7, **changes: Any) -> LiveCall:
        """A call comes in, and is recorded."""
        entry = self.invited_just_now(dialog, **changes)
        await self.recorded()
        return entry

    async def recorded(self) -> None:
        """Wait until all that was submitted is durable."""
        await self.writer.submit()

    def invite(self, dialog: int = 7, **changes: Any) -> None:
        """A call comes in, which may be refused."""
        event = sip.InviteReceived(
            DialogId(dialog), "sip:+49@a", "+49", "Ann", "sip:+2@b", "+2", sdp(), HEADERS, Endpoint("192.0.2.9", 5060),
            "udp", "call-id",
        )  # fmt: skip
        self.runner.on_sip(replace(event, **changes))

    def invited_just_now(self, dialog: int = 7, **changes: Any) -> LiveCall:
        """A call comes in."""
        before = len(self.script.all)
        self.invite(dialog, **changes)
        assert len(self.script.all) > before, "no fact reached the script"
        return self.script.all[-1][0]

    def turns_away(self) -> sip.SipAction:
        """A call comes in, and is refused without a trace."""
        with pytest.raises(AssertionError, match="no fact reached the script"):
            self.invited_just_now(to_user="+1")
        assert len(self.runner.registry) == 0
        return self.signalling.done[-1]

    async def up(self, dialog: int = 7, **changes: Any) -> LiveCall:
        entry = await self.invited(dialog, **changes)
        self.runner.on_pool(messages.FromLeg(entry.leg, reports.LegOpened(LOCAL)))
        self.runner.on_sip(sip.AckReceived(DialogId(dialog), None))
        assert entry.call.state is CallState.UP
        self.forget()
        return entry

    async def place(self, to: str = "sip:bob@c.test", route: Route | None = None, **fields: Any) -> LiveCall:
        parent = fields.pop("parent", None)
        request = CallRequest(to=to, from_="ann", caller_name="Ann", status_callback="http://a/s", **fields)
        entry, written = self.runner.place(ACCOUNT, request, route or Route("uri", "", to), parent)
        await written
        return entry

    def forget(self) -> None:
        for kept in (self.signalling.done, self.media.orders, self.script.all):
            kept.clear()

    async def ended(self, entry: LiveCall) -> None:
        """Wait until it has ended by itself."""
        while entry.call.state is not CallState.ENDED:
            await self.script.applied.get()

    def over(self, entry: LiveCall) -> None:
        """End the call and its leg; nothing of it is left."""
        if entry.call.state is not CallState.ENDED:
            self.runner.apply(entry, commands.EndCall("over"))
        self.runner.on_pool(messages.FromLeg(entry.leg, reports.LegClosed(LegReport())))
