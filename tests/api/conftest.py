"""A server with the API on a free loopback port, over calls that live in memory."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from trunkline.api.app import ApiApplication, create_app
from trunkline.api.server import HttpServer
from trunkline.calls.accounts import AccountView
from trunkline.calls.commands import CallRequest, Command, EndCall, Instructions, RecordingRequest, SetStatusCallback
from trunkline.calls.diagnosis import MediaReport, StreamMedia, diagnose
from trunkline.calls.directory import Directory
from trunkline.calls.views import (
    Application,
    CallbackView,
    CallFilter,
    CallView,
    CaptureView,
    Erasure,
    InboundRouteView,
    NumberView,
    OutboundRouteView,
    PhoneView,
    RecordingFilter,
    RecordingView,
    RoutesView,
    RoutingView,
    SipMessageView,
    SipTraceView,
    StreamFilter,
    StreamView,
    TargetView,
    TrunkView,
    WorkerView,
)
from trunkline.config import HttpSettings, Settings
from trunkline.control.accounts import AccountService, first_key
from trunkline.control.applications import ApplicationService
from trunkline.control.destinations import Destinations
from trunkline.errors import (
    CallEnded,
    CallNotAnswered,
    InvalidRequest,
    ResourceNotFound,
    StreamLimitReached,
    UnknownApplication,
)
from trunkline.faces.telnyx.rest import REST
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LegReport
from trunkline.outbound.egress import Egress
from trunkline.store.accounts import StoredAccounts
from trunkline.streaming.params import StreamParams
from trunkline.webhooks.signing import Signer

KEY = "KEY0123456789"
OTHER_KEY = "KEY9876543210"
OPERATORS_KEY = "KEYoperator"
ACCOUNT = AccountSid("61bf923e-5e4d-4595-a110-56190ea18a1b")
OTHER_ACCOUNT = AccountSid("00000000-5e4d-4595-a110-56190ea18a1b")
CALL = CallSid("v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA")
RINGING = CallSid("v3:ringing")
ENDED = CallSid("v3:ended")
OTHERS = CallSid("v3:others")
APPLICATION = "1293384261075731499"
RECORDING = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
UNROUTED = "+15550000000"
"""A number that no trunk takes."""
NOW = datetime(2023, 6, 15, 9, 56, 45, tzinfo=UTC)


CALLBACK = CallbackView(
    "0b1e3f4a-5f0e-4c39-8f7e-6d3c0e1a2b4c",
    CALL,
    None,
    "https://user:secret@host/cb?secret=1",
    "POST",
    "CallStatus=completed&From=",
    NOW,
    "failed",
    6,
    500,
    "HTTP status 500",
    NOW,
)
RUNNING = RecordingView(RECORDING, ACCOUNT, CALL, "in-progress", "RecordVerb", 2, NOW, NOW)


async def until(predicate: Callable[[], bool]) -> None:
    """Wait for a condition, ten seconds at most."""
    async with asyncio.timeout(10):
        for _ in itertools.count():
            if predicate():
                return
            await asyncio.sleep(0.01)


class Nowhere:
    """A database that takes everything, keeps nothing, and counts."""

    def __init__(self) -> None:
        self.transactions = 0
        self.failure: Exception | None = None

    async def execute(self, *_: object) -> None:
        if self.failure is not None:
            raise self.failure

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Any]:
        self.transactions += 1
        yield self


def _call(sid: CallSid, account: AccountSid = ACCOUNT) -> CallView:
    return CallView(
        sid=sid,
        account_sid=account,
        session_id=CallSessionId(str(uuid.UUID(int=7))),
        direction="inbound",
        from_="+13122010094",
        to="+13987654321",
        caller_name="CALLER",
        status="in-progress",
        created_at=NOW,
        updated_at=NOW,
        answered_at=NOW,
    )


async def _at_once() -> None:
    pass


@dataclass
class MemoryCalls:
    """`CallControl` over dictionaries: what the API may count on, and nothing of SIP or media."""

    live: dict[CallSid, CallView] = field(default_factory=dict)
    started: dict[StreamSid, StreamView] = field(default_factory=dict)
    params: list[StreamParams] = field(default_factory=list)
    filters: list[CallFilter] = field(default_factory=list)
    leg: LegReport = field(default_factory=lambda: LegReport(packets_in=50, frames_in=50))
    placed: list[CallRequest] = field(default_factory=list)
    restricted: list[bool] = field(default_factory=list)
    """Of each call that was to be placed."""
    redirected: list[Instructions] = field(default_factory=list)
    audio: dict[str, Path] = field(default_factory=dict)
    """Of recordings of the first account, by sid."""
    recorded: dict[str, RecordingView] = field(default_factory=dict)
    """Likewise."""
    recording_requests: list[RecordingRequest] = field(default_factory=list)
    captured: dict[str, CaptureView] = field(default_factory=dict)
    """Likewise, by the stream's sid."""
    before_start: Callable[[], Awaitable[object]] = _at_once
    """Awaited when a stream is to be started or a call to be placed; may raise."""

    def __post_init__(self) -> None:
        ended = replace(_call(ENDED), status="completed", ended_at=NOW + timedelta(seconds=11))
        views = (_call(CALL), replace(_call(RINGING), status="ringing", answered_at=None), ended)
        self.live = {view.sid: view for view in (*views, _call(OTHERS, OTHER_ACCOUNT))}

    def _find(self, account: AccountSid, call: CallSid) -> CallView:
        view = self.live.get(call)
        if view is None or view.account_sid != account:
            raise ResourceNotFound()
        return view

    def _find_live(self, account: AccountSid, call: CallSid) -> CallView:
        view = self._find(account, call)
        if view.ended_at is not None:
            raise CallEnded("The call is over")
        return view

    async def place(self, account: AccountSid, request: CallRequest, *, restricted: bool = False) -> CallView:
        await self.before_start()
        self.restricted.append(restricted)
        if request.application_sid not in (None, APPLICATION):
            raise UnknownApplication("No such application", pointer="/ApplicationSid")
        if request.to == UNROUTED:
            raise InvalidRequest("No trunk takes this number", pointer="/To")
        self.placed.append(request)
        view = replace(
            _call(CallSid(f"v3:placed-{len(self.placed)}"), account),
            direction="outbound",
            from_=request.from_,
            to=request.to,
            caller_name=request.caller_name,
            status="queued",
            answered_at=None,
        )
        self.live[view.sid] = view
        return view

    async def redirect(self, account: AccountSid, call: CallSid, instructions: Instructions) -> CallView:
        view = self._find_live(account, call)
        self.redirected.append(instructions)
        return view

    async def apply(self, account: AccountSid, call: CallSid, command: Command) -> CallView:
        view = self._find_live(account, call)
        if isinstance(command, SetStatusCallback):
            view = replace(view, status_callback=command.url, status_callback_method=command.method)
        else:
            assert isinstance(command, EndCall)
            view = replace(view, status="completed", ended_at=NOW + timedelta(seconds=11))
        self.live[call] = view
        return view

    async def start_stream(self, account: AccountSid, call: CallSid, params: StreamParams) -> StreamView:
        view = self._find(account, call)
        await self.before_start()
        if view.status == "ringing":
            raise CallNotAnswered("The call is still being set up")
        if view.status == "completed":
            raise CallEnded("The call is over")
        if len(self.started) >= 4:
            raise StreamLimitReached("The call has 4 streams")
        self.params.append(params)
        stream = StreamView(
            sid=StreamSid(str(uuid.UUID(int=len(self.params), version=4))),
            account_sid=account,
            call_sid=call,
            name=params.name,
            url=params.url.text,
            track=params.track.value,
            status="in-progress",
            created_at=NOW,
            updated_at=NOW,
            status_callback=params.status_callback,
            status_callback_method=params.status_callback_method,
            mode=params.mode.value,
            codec=params.bidirectional_codec,
        )
        self.started[stream.sid] = stream
        return stream

    async def stop_stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        view = await self.stream(account, call, stream)
        self.started[view.sid] = replace(view, status="stopped", ended_reason="stopped by the API")
        return self.started[view.sid]

    async def pause_stream(self, account: AccountSid, call: CallSid, stream: str, *, paused: bool) -> StreamView:
        view = await self.stream(account, call, stream)
        if view.status == "stopped":
            raise InvalidRequest("The stream is over.", pointer="/Status")
        self.started[view.sid] = replace(view, status="paused" if paused else "in-progress")
        return self.started[view.sid]

    async def end_after(self, account: AccountSid, call: CallSid) -> Callable[[], None]:
        view = self._find_live(account, call)

        def end() -> None:
            self.live[call] = replace(view, status="completed", ended_at=NOW + timedelta(seconds=11))

        return end

    async def call(self, account: AccountSid, call: CallSid) -> CallView:
        return self._find(account, call)

    async def media(self, account: AccountSid, call: CallSid) -> MediaReport:
        view = self._find(account, call)
        streams = tuple(
            StreamMedia(stream, "open", None) for stream in self.started.values() if stream.call_sid == call
        )
        return MediaReport(view, True, self.leg, streams, diagnose(view, self.leg, streams, live=True))

    async def streams_of_account(
        self, account: AccountSid, where: StreamFilter, *, offset: int, limit: int
    ) -> tuple[list[StreamView], bool]:
        views = [
            view
            for view in self.started.values()
            if view.account_sid == account
            and where.status in (None, view.status)
            and where.call in (None, view.call_sid)
            and where.name in (None, view.name)
        ]
        return views[offset : offset + limit], len(views) > offset + limit

    async def callbacks(self, account: AccountSid, *, offset: int, limit: int) -> tuple[list[CallbackView], bool]:
        found = [CALLBACK] if account == ACCOUNT else []
        return found[offset : offset + limit], False

    async def redeliver(self, account: AccountSid, callback: str) -> CallbackView:
        if account != ACCOUNT or callback != CALLBACK.sid:
            raise ResourceNotFound()
        return replace(CALLBACK, sid="a new one", state="pending", tries=0, finished_at=None)

    def routes(self, account: AccountSid) -> RoutesView:
        if account != ACCOUNT:
            return RoutesView()
        trunk = TrunkView("carrier", True, (TargetView("sip:192.0.2.1", False),))
        return RoutesView((NumberView("+1*", "texml"),), (PhoneView("alice", ("192.0.2.7:5060",)),), (trunk,))

    def routing(self, account: AccountSid, number: str, *, trunk: str | None, phone: str | None) -> RoutingView:
        if account != ACCOUNT:
            raise ResourceNotFound
        inbound = InboundRouteView("+1*", "bot", "12", "texml", False, f"{trunk} {phone}")
        way = OutboundRouteView("trunk", "carrier", number, "it does")
        return RoutingView(inbound, way, OutboundRouteView(None, None, None, "it does not"))

    def workers(self, account: AccountSid) -> list[WorkerView]:
        return [WorkerView(0, 4711, False, 3, 0.25, 2, 1)] if account == ACCOUNT else []

    async def sip_trace(self, account: AccountSid, call: CallSid) -> SipTraceView:
        await self.call(account, call)
        invite = "INVITE sip:+1@host SIP/2.0\r\n\r\n"
        about = ("received", "192.0.2.1:5060", "192.0.2.7:5060", "udp", "INVITE sip:+1@host", "1 INVITE", invite)
        return SipTraceView(call, "abc@host", (SipMessageView(1, NOW, *about),), 2)

    def refused_calls(self, account: AccountSid) -> list[SipTraceView]:
        return [] if account != ACCOUNT else [SipTraceView(None, "refused@host")]

    async def erase(self, account: AccountSid, number: str) -> Erasure:
        theirs = [view for view in self.live.values() if view.account_sid == account]
        live = [view for view in theirs if number in (view.from_, view.to)]
        return Erasure(calls=3, streams=2, callbacks=1, recordings=0, in_progress=len(live))

    async def captures(
        self, account: AccountSid, *, call: str | None, stream: str | None, offset: int, limit: int
    ) -> tuple[list[CaptureView], bool]:
        theirs = self.captured.values() if account == ACCOUNT else []
        found = [view for view in theirs if call in (None, view.call_sid) and stream in (None, view.stream_sid)]
        return found[offset : offset + limit], len(found) > offset + limit

    async def capture(self, account: AccountSid, stream: str) -> CaptureView:
        found, _ = await self.captures(account, call=None, stream=stream, offset=0, limit=1)
        if not found:
            raise ResourceNotFound()
        return found[0]

    async def delete_capture(self, account: AccountSid, stream: str) -> CaptureView:
        view = await self.capture(account, stream)
        return self.captured.pop(view.stream_sid)

    async def recordings(
        self, account: AccountSid, where: RecordingFilter, *, offset: int, limit: int
    ) -> tuple[list[RecordingView], bool]:
        if where.call is not None:
            self._find(account, where.call)
        theirs = self.recorded.values() if account == ACCOUNT else []
        views = [view for view in theirs if where.call in (None, view.call_sid)]
        return views[offset : offset + limit], len(views) > offset + limit

    async def recording(self, account: AccountSid, sid: str) -> RecordingView:
        if sid not in self.recorded or account != ACCOUNT:
            raise ResourceNotFound()
        return self.recorded[sid]

    async def start_recording(self, account: AccountSid, call: CallSid, wanted: RecordingRequest) -> RecordingView:
        view = self._find(account, call)
        await self.before_start()
        if view.status == "ringing":
            raise CallNotAnswered("The call is still being set up")
        if view.status == "completed":
            raise CallEnded("The call is over")
        self.recording_requests.append(wanted)
        sid, track, source = (
            str(uuid.UUID(int=len(self.recorded), version=4)),
            wanted.options.track,
            "StartCallRecordingAPI",
        )
        made = replace(RUNNING, sid=sid, call_sid=call, channels=wanted.options.channels, track=track, source=source)
        self.recorded[sid] = made
        return made

    async def stop_recording(self, account: AccountSid, call: CallSid, sid: str) -> RecordingView:
        view = await self.recording(account, sid)
        if view.call_sid != call:
            raise ResourceNotFound()
        self.recorded[sid] = replace(view, status="completed", ended_at=NOW, duration=2.5, size=4)
        return view

    async def pause_recording(self, account: AccountSid, call: CallSid, sid: str, *, paused: bool) -> RecordingView:
        view = await self.recording(account, sid)
        if view.call_sid != call:
            raise ResourceNotFound()
        if view.ended_at is not None:
            raise InvalidRequest("The recording is over.", pointer="/Status")
        self.recorded[sid] = replace(view, status="paused" if paused else "in-progress")
        return self.recorded[sid]

    async def delete_recording(self, account: AccountSid, sid: str) -> None:
        if (await self.recording(account, sid)).ended_at is None:
            raise InvalidRequest("The recording is under way: it is deleted once it has ended.")
        del self.recorded[sid]

    async def recording_mp3(self, account: AccountSid, sid: str) -> Path:
        if (await self.recording(account, sid)).ended_at is None:
            raise InvalidRequest("The recording is under way: its mp3 file is made once it has ended.")
        return await self.recording_audio(account, sid)

    def recording_url(self, account: AccountSid, sid: str) -> str:
        return f"http://us/v2/texml/Accounts/{account}/Recordings/{sid}.wav"

    async def recording_audio(self, account: AccountSid, sid: str) -> Path:
        path = self.audio.get(sid)
        if path is None or account != ACCOUNT:
            raise ResourceNotFound()
        return path

    async def calls(
        self, account: AccountSid, where: CallFilter, *, offset: int, limit: int
    ) -> tuple[list[CallView], bool]:
        self.filters.append(where)
        views = [view for view in self.live.values() if view.account_sid == account]
        return views[offset : offset + limit], len(views) > offset + limit

    async def stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        self._find(account, call)
        for view in self.started.values():
            if view.call_sid == call and stream in (view.sid, view.name):
                return view
        raise ResourceNotFound()

    async def streams(self, account: AccountSid, call: CallSid) -> list[StreamView]:
        self._find(account, call)
        return [view for view in self.started.values() if view.call_sid == call]


@dataclass
class MemoryApplications:
    """What the store is asked about applications, over a dictionary."""

    kept: dict[str, Application] = field(default_factory=dict)
    before_change: Callable[[], Awaitable[object]] = _at_once
    """Awaited before a change; may raise."""

    async def put_application(self, application: Application) -> None:
        await self.before_change()
        self.kept[application.sid] = application

    async def delete_application(self, sid: str) -> None:
        await self.before_change()
        del self.kept[sid]


CONFIGURED = {
    "applications": [{"name": "configured", "voice_url": "http://configured.example/", "sid": "7"}],
    "numbers": [{"pattern": "+49*", "application": APPLICATION}],
}
NAMED = Application(
    sid=APPLICATION,
    account_sid=ACCOUNT,
    friendly_name="named by a number",
    voice_url="http://named.example/",
    voice_method="POST",
    voice_fallback_url=None,
    status_callback=None,
    status_callback_method="POST",
    active=True,
    created_at=NOW,
    updated_at=NOW,
)


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def control(tmp_path: Path) -> MemoryCalls:
    """The calls behind the API, and one recording."""
    recording = tmp_path / "recording.wav"
    recording.write_bytes(b"RIFF")
    over = replace(RUNNING, status="completed", ended_at=NOW, duration=2.5, size=4)
    return MemoryCalls(audio={RECORDING: recording}, recorded={RECORDING: over})


@pytest.fixture
def clock() -> Clock:
    """The API's clock."""
    return Clock()


@pytest.fixture
def settings() -> HttpSettings:
    """A free port; a small body limit keeps the tests of it small."""
    return HttpSettings(port=0, body_limit=4096, header_limit=16384, rate_limit=50)


@pytest.fixture
def not_ready() -> list[str]:
    """Reasons why the server is not ready; empty at first."""
    return []


@pytest.fixture
def store() -> MemoryApplications:
    """Where applications are kept."""
    return MemoryApplications({APPLICATION: NAMED})


@pytest.fixture
def applications(directory: Directory, store: MemoryApplications) -> ApplicationService:
    """The applications of the directory."""
    return ApplicationService(directory, store, Destinations(Egress()))


@pytest.fixture
def directory(store: MemoryApplications) -> Directory:
    """Two applications: one of the configuration, and one of the store that a number of the configuration names."""
    return Directory(Settings.model_validate(CONFIGURED), ACCOUNT, store.kept.values(), NOW)


@pytest.fixture
def database() -> Nowhere:
    """Where accounts are written."""
    return Nowhere()


@pytest.fixture
async def accounts(directory: Directory, control: MemoryCalls, database: Nowhere) -> AccountService:
    """Two accounts with a key each, and the operator's."""
    stored = StoredAccounts(database)
    for sid, key in ((ACCOUNT, KEY), (OTHER_ACCOUNT, OTHER_KEY)):
        await stored.add_account(AccountView(sid, "", NOW), first_key(sid), key)

    def live(account: AccountSid) -> int:
        return sum(view.account_sid == account and view.ended_at is None for view in control.live.values())

    return AccountService(stored, directory, ACCOUNT, OPERATORS_KEY, live)


@pytest.fixture
def app(
    control: MemoryCalls,
    applications: ApplicationService,
    accounts: AccountService,
    settings: HttpSettings,
    clock: Clock,
    not_ready: list[str],
    tmp_path: Path,
) -> ApiApplication:
    """The application."""
    return create_app(
        REST,
        control,
        applications,
        accounts,
        settings,
        ready=lambda: not_ready[0] if not_ready else None,
        api_ready=lambda: "starting" if "starting" in not_ready else None,
        signing=Signer.load(tmp_path),
        metrics=lambda: b"# HELP up 1\nup 1\n",
        clock=clock,
    )


@pytest.fixture
def request_timeout() -> float:
    """Seconds in which a request must be there; tests of it are parametrized with less."""
    return 60


@pytest.fixture
async def server(app: ApiApplication, settings: HttpSettings, request_timeout: float) -> AsyncIterator[HttpServer]:
    """The application on a real port."""
    server = HttpServer(app, settings, request_timeout=request_timeout)
    await server.start()
    yield server
    await server.stop(grace=1)


@pytest.fixture
async def anonymous(server: HttpServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    # No TLS here, so no certificates to load for every test.
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def client(anonymous: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with the account's key."""
    anonymous.headers["authorization"] = f"Bearer {KEY}"
    return anonymous


@pytest.fixture
def streams_path() -> str:
    """Where streams of the answered call are started."""
    return f"/v2/texml/Accounts/{ACCOUNT}/Calls/{CALL}/Streams.json"


@pytest.fixture
def calls_path() -> str:
    """The account's calls."""
    return f"/v2/texml/Accounts/{ACCOUNT}/Calls"
