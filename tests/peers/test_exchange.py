"""A telephone exchange of software that is not ours: two baresip phones and sipp as the carrier, with us between them.

One server for all, which takes calls of its phones and of its trunk only.
"""

import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers.baresip import CODECS, Baresip, Namespace, make_namespace, missing, remove_namespace
from peers.harness import RecordingApp, RtpEndpoint, Socket, happens, new_server, running
from peers.sipp import (
    PCMA_LINES,
    PCMU_LINES,
    SippRun,
    accepts,
    ack,
    acked,
    answered,
    byed,
    called,
    challenges,
    declined,
    hangs_up,
    invite,
    reinvites,
    responds,
    sdp,
    waits,
)
from sent import check_requests
from trunkline.demo.audio import RATE, dominant_frequency, find_tones, tone
from trunkline.demo.caller import PCMU
from trunkline.demo.server import ServerProcess, free_ports
from webapp import Answer, WebApp, texml

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(missing()), reason=missing() or ""),
    pytest.mark.asyncio(loop_scope="module"),
]

ANN, BOB, CAT = "+13125550101", "+13125550102", "+13125550103"
"""Three phones, called by their numbers; Cat's takes encrypted audio only."""
WHISTLES = {ANN: 700.0, BOB: 1100.0, CAT: 900.0}
PCMA = 8
"""Payload type."""
SILENCE = 3
"""Seconds of it that end a call; more than a phone may be held up by a busy machine."""
EVENTS = "initiated ringing answered completed"


@dataclass
class Carrier:
    """sipp as the carrier, at the second of its trunk's two targets; the first has no listener."""

    host: str
    port: int
    directory: Path

    def run(self, name: str, *steps: str) -> SippRun:
        """Have it take a call; `name` is that of its directory."""
        directory = self.directory / name
        directory.mkdir()
        return SippRun(directory, None, steps, host=self.host, port=self.port)


@dataclass
class Exchange:
    """The server, and all that is around it."""

    server: ServerProcess
    space: Namespace
    client: AsyncTelnyx
    web: WebApp
    carrier: Carrier
    directory: Path

    def answers(self, **answers: str) -> None:
        """What the web app says from now on, by path; it forgets what it was asked before."""
        self.web.received.clear()
        self.web.answers = {f"/{path}": texml(verbs) for path, verbs in answers.items()}
        self.web.answers |= dict.fromkeys(("/call", "/leg", "/stream"), Answer())

    def phone(self, user: str, transport: str, name: str, codec: str = "PCMU", *, encrypted: bool = False) -> Baresip:
        """A phone that registers; `name` is that of its directory."""
        directory = self.directory / name
        directory.mkdir()
        port = self.server.setting("sip.tls_port") if transport == "tls" else self.server.sip_port
        account = f"<sip:{user}@{self.server.host}:{port};transport={transport}>;auth_pass=secret-{user};regint=60"
        ca_file = self.directory / "sip-tls.pem"
        line = list(WHISTLES).index(user)
        return Baresip(
            directory,
            self.space,
            codec,
            encrypted=encrypted,
            account=account,
            ca_file=ca_file,
            hertz=WHISTLES[user],
            line=line,
        )

    def dials(self, phone: Baresip, number: str, transport: str) -> None:
        """Have a phone call a number."""
        port = self.server.setting("sip.tls_port") if transport == "tls" else self.server.sip_port
        phone.type(f"/dial sip:{number}@{self.server.host}:{port};transport={transport}\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exchange]:
    """Two phones' users, each with a number, and their applications on the web."""
    directory = tmp_path_factory.mktemp("exchange")
    async with AsyncExitStack() as stack:
        space = await make_namespace()
        stack.push_async_callback(remove_namespace, space)
        web = await stack.enter_async_context(WebApp())
        applications = [{"name": "desk", "voice_url": web.url + "/voice", "status_callback": web.url + "/call"}]
        rules = {ANN: None, BOB: None, CAT: "required"}
        phones = [
            {"user": user, "password": f"secret-{user}", "caller_id": "+4930777", "srtp": rule}
            for user, rule in rules.items()
        ]
        dead = free_ports(2, space.outer)
        carrier = Carrier(space.outer, dead + 1, directory)
        trunk = {
            "name": "carrier",
            "targets": [f"sip:{space.outer}:{port}" for port in (dead, carrier.port)],
            "networks": [f"{space.outer}/32"],
            "username": "trunkline",
            "password": "carried",
            "keep_alive": 0,
            "dial_prefixes": ["+*"],
        }
        safe = {
            "name": "safe",
            "targets": [f"sip:{space.outer}:{carrier.port}"],
            "keep_alive": 0,
            "prefixes": ["+88*"],
            "srtp": "required",
        }
        server = new_server(
            directory,
            host=space.outer,
            sip__phones=json.dumps(phones),
            sip__trunks=json.dumps([safe, trunk]),
            sip__target_timeout=2,
            sip__tls_port=free_ports(1, space.outer),
            sip__unknown_callers="none",
            media__silence_timeout=SILENCE,
            applications=json.dumps(applications),
            numbers=json.dumps([{"pattern": "*", "application": "desk"}]),
        )
        await stack.enter_async_context(running(server))
        client = AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0)
        await stack.enter_async_context(client)
        yield Exchange(server, space, client, web, carrier, directory)
        check_requests(web.received)


def whistled(socket: Socket, track: str, hertz: float, frames: int = 25) -> bool:
    """The end of what a stream had of a track is one tone."""
    return find_tones(socket.payloads(track)[-frames:], least=frames - 3, hertz=hertz).bursts == 1


def forms(exchange: Exchange, path: str) -> list[dict[str, str]]:
    """The callbacks that came to a path."""
    return [request.fields for request in exchange.web.asked(path)]


async def received_forms(exchange: Exchange, path: str, count: int) -> list[dict[str, str]]:
    """The first callbacks at a path, once there are that many."""
    await happens(exchange.web.watch, f"{count} callbacks at {path}", lambda: len(forms(exchange, path)) >= count)
    return forms(exchange, path)


def recorded_cause(exchange: Exchange, call_sid: str) -> str:
    """How a call ended, in words, as its record has it."""
    (file,) = exchange.directory.glob("*.db")
    with closing(sqlite3.connect(file)) as database:
        ((cause,),) = database.execute("SELECT hangup_cause FROM calls WHERE sid = ?", (call_sid,)).fetchall()
    return str(cause)


PROGRESS = ["initiated", "ringing", "in-progress", "completed"]


async def test_two_phones_hear_each_other_and_a_stream_hears_both(exchange: Exchange) -> None:
    async with RecordingApp() as app, exchange.phone(ANN, "udp", "a1") as ann, exchange.phone(BOB, "tls", "b1") as bob:
        await ann.says("200 OK")
        await bob.says("200 OK")
        exchange.answers(
            voice=(
                f'<Start><Stream url="{app.url}" track="both_tracks" statusCallback="/stream"/></Start>'
                f'<Dial><Sip statusCallback="/leg" statusCallbackEvent="{EVENTS}">'
                f"sip:{BOB}@{exchange.server.host}:{exchange.server.sip_port}</Sip></Dial>"
            )
        )
        exchange.dials(ann, BOB, "udp")
        await bob.says("Incoming call")
        bob.accept()
        socket = await app.socket()
        await happens(app.watch, "the app hears Ann", lambda: whistled(socket, "inbound", WHISTLES[ANN]))
        await happens(app.watch, "and Bob", lambda: whistled(socket, "outbound", WHISTLES[BOB]))
        ann.type("/hangup\n")
        await bob.says("session closed")
    for phone, other in ((ann, BOB), (bob, ANN)):
        assert dominant_frequency(phone.heard()[-RATE:], RATE) == pytest.approx(WHISTLES[other], abs=3)
    call, leg, stream = [
        await received_forms(exchange, path, count) for path, count in (("/call", 4), ("/leg", 4), ("/stream", 2))
    ]
    assert [form["CallStatus"] for form in call] == [form["CallStatus"] for form in leg] == PROGRESS
    assert [form["StreamEvent"] for form in stream] == ["stream-started", "stream-stopped"]
    (ours,) = {form["CallSid"] for form in (*call, *stream)}
    (theirs,) = {form["CallSid"] for form in leg}
    assert ours != theirs
    assert {form["ParentCallSid"] for form in leg} == {ours}
    assert not any("ParentCallSid" in form for form in call)
    assert (call[3]["From"], call[3]["To"], call[3]["HangupSource"]) == (ANN, BOB, "caller")
    assert (leg[3]["From"], leg[3]["HangupSource"]) == (ANN, "caller")
    assert recorded_cause(exchange, theirs) == "the call that dialled it is over: caller hung up"


async def test_a_call_is_answered_with_the_dialled_phone_and_survives_holds_of_both(exchange: Exchange) -> None:
    first = exchange.phone(ANN, "tcp", "a2", encrypted=True)
    second = exchange.phone(BOB, "udp", "b2", "G722")
    async with RecordingApp() as app, first as ann, second as bob:
        await ann.says("200 OK")
        await bob.says("200 OK")
        exchange.answers(
            voice=f'<Dial answerOnBridge="true" action="/over"><Number>{BOB}</Number></Dial>', over="<Hangup/>"
        )
        exchange.dials(ann, BOB, "tcp")
        await bob.says("Incoming call")
        call_sid = (await received_forms(exchange, "/call", 2))[0]["CallSid"]
        assert [form["CallStatus"] for form in forms(exchange, "/call")] == ["initiated", "ringing"]
        bob.accept()
        await ann.says("Call established")
        await received_forms(exchange, "/call", 3)
        account = exchange.server.account_sid
        await exchange.client.texml.accounts.calls.streams_json(
            call_sid, account_sid=account, url=app.url, track="both_tracks"
        )
        socket = await app.socket()
        for phone in (ann, bob):
            await _both_are_heard(app, socket)
            phone.type("/hold\n")
            await happens(app.watch, "a track falls silent", lambda: not _are_heard(socket))
            held = len(socket.messages)
            await happens(
                app.watch,
                "longer than the silence that ends calls",
                lambda held=held: len(socket.messages) > held + 100 * SILENCE + 40,
            )
            phone.type("/resume\n")
        await _both_are_heard(app, socket)
        bob.type("/hangup\n")
        await ann.says("session closed")
    for phone, rate, other in ((ann, RATE, BOB), (bob, CODECS["G722"][1], ANN)):
        assert dominant_frequency(phone.heard()[-rate // 2 :], rate) == pytest.approx(WHISTLES[other], abs=3)
    (over,) = await received_forms(exchange, "/over", 1)
    assert over["DialCallStatus"] == "completed"
    assert (await received_forms(exchange, "/call", 4))[3]["HangupSource"] == "system"


def _are_heard(socket: Socket, frames: int = 25) -> bool:
    return whistled(socket, "inbound", WHISTLES[ANN], frames) and whistled(socket, "outbound", WHISTLES[BOB], frames)


async def _both_are_heard(app: RecordingApp, socket: Socket) -> None:
    await happens(app.watch, "Ann and Bob are heard", lambda: _are_heard(socket))


async def test_a_call_goes_out_by_the_carrier_that_is_there_and_asks_for_credentials(exchange: Exchange) -> None:
    carrier = exchange.carrier
    exchange.answers()
    steps = (
        called("INVITE sip:[+]4930123456@.*From: [^>]*sip:[+]4930777@"),
        challenges("trunkline", "carried"),
        responds(180, "Ringing"),
        accepts(sdp(PCMU_LINES, host=carrier.host)),
        hangs_up(),
    )
    async with carrier.run("out", *steps) as run:
        response = await exchange.client.texml.accounts.calls.with_raw_response.calls(
            exchange.server.account_sid,
            body={
                "to": "+4930123456",
                "from_": ANN,
                "texml": "<Response><Pause length='30'/></Response>",
                "status_callback": exchange.web.url + "/call",
                "status_callback_event": EVENTS,
            },
        )
        assert json.loads(await response.text())["status"] == "queued"
        await run.succeeds()
    call = await received_forms(exchange, "/call", 4)
    assert [form["CallStatus"] for form in call] == PROGRESS


async def test_a_phone_that_takes_encrypted_audio_only_is_dialled_and_heard(exchange: Exchange) -> None:
    exchange.answers(voice=f"<Dial><Number>{CAT}</Number></Dial>")
    first, second = exchange.phone(ANN, "udp", "a4"), exchange.phone(CAT, "tls", "c4", encrypted=True)
    async with RecordingApp() as app, first as ann, second as cat:
        await ann.says("200 OK")
        await cat.says("200 OK")
        exchange.dials(ann, CAT, "udp")
        await cat.says("Incoming call")
        cat.accept()
        await cat.says("Call established")
        call_sid = (await received_forms(exchange, "/call", 3))[0]["CallSid"]
        await exchange.client.texml.accounts.calls.streams_json(
            call_sid, account_sid=exchange.server.account_sid, url=app.url, track="both_tracks"
        )
        socket = await app.socket()
        await happens(app.watch, "Ann is heard", lambda: whistled(socket, "inbound", WHISTLES[ANN]))
        await happens(app.watch, "and Cat", lambda: whistled(socket, "outbound", WHISTLES[CAT]))
        ann.type("/hangup\n")
        await cat.says("session closed")
    assert dominant_frequency(cat.heard()[-RATE:], RATE) == pytest.approx(WHISTLES[ANN], abs=3)
    await received_forms(exchange, "/call", 4)


@pytest.mark.parametrize(
    ("to", "asked", "profile"),
    [
        ("+4930123456", "SRTP", "SAVP"),
        ("+4930123456", "", "AVP"),
        ("+8830123456", "", "SAVP"),
        ("+8830123456", "disabled", "AVP"),
        ("sip:eve@{carrier}", "SRTP", "SAVP"),
        ("sip:eve@{carrier}", "", "AVP"),
    ],
    ids=["trunk-srtp", "trunk", "safe-trunk", "safe-trunk-disabled", "uri-srtp", "uri"],
)
async def test_calls_offer_encrypted_audio_where_they_must(
    exchange: Exchange, to: str, asked: str, profile: str, request: pytest.FixtureRequest
) -> None:
    exchange.answers()
    carrier = exchange.carrier
    steps = (called(f"m=audio [0-9]+ RTP/{profile} "), responds(488, "Not Acceptable Here"), acked())
    async with carrier.run(request.node.callspec.id, *steps) as run:
        await exchange.client.texml.accounts.calls.with_raw_response.calls(
            exchange.server.account_sid,
            body={
                "to": to.format(carrier=f"{carrier.host}:{carrier.port}"),
                "from_": ANN,
                "texml": "<Response/>",
                "status_callback": exchange.web.url + "/call",
            },
            extra_body={"MediaEncryption": asked} if asked else None,
        )
        await run.succeeds()
    assert (await received_forms(exchange, "/call", 1))[0]["SipHangupCause"] == "488"


@pytest.mark.parametrize("asked", ["SRTP", "disabled"])
async def test_a_phone_is_offered_what_the_call_asks_for(exchange: Exchange, asked: str) -> None:
    exchange.answers()
    user = BOB if asked == "SRTP" else CAT
    async with exchange.phone(user, "udp", f"{asked}5", encrypted=True) as phone:
        await phone.says("200 OK")
        await exchange.client.texml.accounts.calls.with_raw_response.calls(
            exchange.server.account_sid,
            body={
                "to": user,
                "from_": ANN,
                "texml": "<Response><Hangup/></Response>",
                "status_callback": exchange.web.url + "/call",
            },
            extra_body={"MediaEncryption": asked},
        )
        if asked == "SRTP":
            await phone.says("Incoming call")
            phone.accept()
        (form,) = await received_forms(exchange, "/call", 1)
    assert (form["CallStatus"], form["SipHangupCause"]) == (
        ("completed", "200") if asked == "SRTP" else ("failed", "488")
    )


@pytest.mark.parametrize(
    ("host", "steps"),
    [
        ("carrier", (invite(sdp(PCMU_LINES)), answered(), ack(), byed())),
        ("127.0.0.9", (invite(sdp(PCMU_LINES)), declined(401))),
    ],
)
async def test_only_the_carrier_may_send_calls(exchange: Exchange, host: str, steps: tuple[str, ...]) -> None:
    exchange.answers(voice="<Say>Hello</Say>")
    directory = exchange.directory / host
    directory.mkdir()
    own = exchange.carrier.host if host == "carrier" else host
    async with SippRun(directory, exchange.server.sip_address, steps, host=own) as run:
        await run.succeeds()
    if host == "carrier":
        assert [form["CallStatus"] for form in await received_forms(exchange, "/call", 4)] == PROGRESS


async def test_re_invites_on_either_side_of_two_bridged_calls_leave_the_other_alone(exchange: Exchange) -> None:
    exchange.answers(voice="<Dial><Number>+4930123456</Number></Dial>")
    host = exchange.carrier.host
    (exchange.directory / "caller").mkdir()
    async with RtpEndpoint(host) as here, RtpEndpoint(host) as there:
        plain, held, changed = (
            sdp(lines, here.port, host=host, direction=direction)
            for lines, direction in ((PCMU_LINES, "sendrecv"), (PCMU_LINES, "sendonly"), (PCMA_LINES, "sendrecv"))
        )
        again = [
            (waits(), invite(body, cseq), answered(), ack(cseq))
            for cseq, body in enumerate((held, changed, plain), start=2)
        ]
        calling = (invite(plain), answered(), ack(), *itertools.chain(*again), byed())
        other = sdp(PCMU_LINES, there.port, host=host)
        silent = sdp(PCMU_LINES, there.port, host=host, direction="inactive")
        taking = (called(), accepts(other), waits(), reinvites(silent, 1), waits(), reinvites(other, 2), byed())
        async with exchange.carrier.run("bridged", *taking) as callee:
            caller = SippRun(exchange.directory / "caller", exchange.server.sip_address, calling, host=host)
            async with caller:
                call_sid, port = await caller.answered()
                _, other_port = await callee.answered()
                # Minus zero, which decoding and encoding make plus zero.
                here.speak([tone(20, WHISTLES[ANN]).replace(b"\xff", b"\x7f")] * 1500, port)
                there.speak([tone(20, WHISTLES[BOB])] * 1500, other_port)
                for run in (callee, caller, callee, caller):
                    await run.go_on()
                    await run.answered()
                await happens(here.watch, "PCMA comes", lambda: PCMA in [one.payload_type for one in here.heard[-1:]])
                await caller.go_on()
                await caller.answered()
                began = len(here.heard), len(there.heard)
                for phone, start, user in ((here, began[0], BOB), (there, began[1], ANN)):
                    await happens(phone.watch, f"{user} is heard again", lambda a=(phone, start, user): hears(*a))
                assert any(b"\x7f" in packet.payload for packet in there.heard[began[1] :])
                await exchange.client.calls.actions.hangup(call_sid)
                await caller.succeeds()
                await callee.succeeds()
    assert {packet.payload_type for packet in here.heard} == {PCMU, PCMA}
    assert {packet.payload_type for packet in there.heard} == {PCMU}
    assert [form["CallStatus"] for form in await received_forms(exchange, "/call", 4)] == PROGRESS


def hears(phone: RtpEndpoint, start: int, user: str) -> bool:
    """Whether a phone has received half a second of another's whistle since that packet."""
    payloads = (packet.payload for packet in phone.heard[start:])
    return find_tones(payloads, least=25, hertz=WHISTLES[user]).bursts > 0


async def test_a_failed_dial_is_reported_and_an_abandoned_call_stops_ringing(
    exchange: Exchange,
) -> None:
    exchange.answers(
        voice=f'<Dial answerOnBridge="true" action="/over"><Number>{BOB}</Number></Dial>',
        over='<Reject reason="busy"/>',
    )
    async with exchange.phone(ANN, "udp", "a3") as ann:
        await ann.says("200 OK")
        exchange.dials(ann, BOB, "udp")
        await ann.says("486 Busy Here")
        async with exchange.phone(BOB, "tcp", "b3") as bob:
            await bob.says("200 OK")
            exchange.dials(ann, BOB, "udp")
            await bob.says("Incoming call")
            bob.type("/hangup\n")
            await ann.says("486 Busy Here")
            exchange.dials(ann, BOB, "udp")
            await bob.says("Incoming call")
            ann.type("/hangup\n")
            await bob.says("session closed")
    calls = await received_forms(exchange, "/call", 9)
    ends = sorted(
        form["CallStatus"] for form in calls if form["SequenceNumber"] == "3"
    )  # only a call's own are in order
    assert ends == ["busy", "busy", "canceled"]
    over = await received_forms(exchange, "/over", 2)
    assert [form["DialCallStatus"] for form in over] == ["no-answer", "busy"]
