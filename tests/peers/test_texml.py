"""TeXML documents on real calls by sipp: those of public samples, with made-up hosts and shorter waits."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, RtpEndpoint, happens, listed_calls, new_server, running
from peers.sipp import SippRun
from sent import check_requests
from trunkline.demo.audio import find_tones, level, speech, tone
from trunkline.demo.server import ServerProcess, free_ports
from webapp import Answer, WebApp, texml

pytestmark = pytest.mark.peer
AUDIBLE = -50
"""dB below full scale: anything that was played is louder."""


@pytest.fixture(scope="module")
def web_port() -> int:
    return free_ports(1)


@pytest.fixture
async def web(web_port: int) -> AsyncIterator[WebApp]:
    async with WebApp(web_port) as web:
        yield web
    check_requests(web.received)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory, web_port: int) -> AsyncIterator[ServerProcess]:
    """A server all of whose calls do what the web app says at /voice."""
    applications = json.dumps([{"name": "app", "voice_url": f"http://127.0.0.1:{web_port}/voice"}])
    numbers = json.dumps([{"pattern": "*", "application": "app"}])
    directory = tmp_path_factory.mktemp("server")
    async with running(new_server(directory, applications=applications, numbers=numbers)) as server:
        yield server


def audible(phone: RtpEndpoint) -> bool:
    """Whether it has received anything audible."""
    return any(level(packet.payload) > AUDIBLE for packet in phone.heard)


async def test_connect_streams_until_the_app_closes_and_then_the_pause_runs(
    server: ServerProcess, sipp: Callable[..., SippRun], web: WebApp, app: RecordingApp, public_key: bytes
) -> None:
    web.answers["/voice"] = texml(
        f'<Connect><Stream url="{app.url}" bidirectionalMode="rtp"><Parameter name="who" value="you"/></Stream>'
        '</Connect><Pause length="1"/>'
    )
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            phone.speak(speech(500), port)
            socket = await app.socket()
            start = socket.all("start")[0]["start"]
            assert (start["call_control_id"], start["custom_parameters"]) == (call_sid, {"who": "you"})
            await socket.play(tone(200))
            await happens(
                phone.watch, "the app's tone", lambda: find_tones(one.payload for one in phone.heard).bursts > 0
            )
            closed = asyncio.get_running_loop().time()
            await socket.connection.close()
            await run.succeeds()
            assert asyncio.get_running_loop().time() - closed >= 1
    (fetch,) = web.asked("/voice")
    assert fetch.verified(public_key)
    assert (fetch.fields["CallSid"], fetch.fields["CallStatus"]) == (call_sid, "ringing")
    assert (fetch.fields["From"], fetch.fields["To"]) == ("+13125550100", "+13125550123")


async def test_say_is_heard_before_the_stream_and_keys_choose_from_a_menu(
    server: ServerProcess, sipp: Callable[..., SippRun], web: WebApp, app: RecordingApp
) -> None:
    web.answers |= {
        "/voice": texml('<Gather action="menu" numDigits="1"><Say loop="0">Press a key</Say></Gather><Hangup/>'),
        "/menu": texml(f'<Say>Hi</Say><Play>a.wav</Play><Connect><Stream url="{app.url}"/></Connect>'),
        "/a.wav": Answer(_wav(tone(400))),
    }
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        menu = (steps.waits(), steps.info(2, "7"), steps.byed())
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), *menu) as run:
            _, port = await run.answered()
            await happens(phone.watch, "the menu is played", lambda: audible(phone))
            await run.go_on()
            socket = await app.socket()
            assert find_tones(one.payload for one in phone.heard).bursts == 1
            phone.speak(speech(100), port)
            await happens(app.watch, "the app hears the caller", lambda: speech(100)[50] in socket.payloads())
            await socket.connection.close()
            await run.succeeds()
    (menu_request,) = web.asked("/menu")
    assert menu_request.fields["Digits"] == "7"
    assert menu_request.fields["CallStatus"] == "in-progress"


def _wav(payload: bytes) -> bytes:
    """µ-law as a wav file (format 7, RFC 2361)."""
    head = b"WAVEfmt " + bytes((18, 0, 0, 0, 7, 0, 1, 0)) + (8000).to_bytes(4, "little") * 2 + bytes((1, 0, 8, 0, 0, 0))
    chunk = head + b"data" + len(payload).to_bytes(4, "little") + payload
    return b"RIFF" + len(chunk).to_bytes(4, "little") + chunk


async def test_a_started_stream_hears_both_parties_of_a_dialled_call(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    web: WebApp,
    app: RecordingApp,
    tmp_path: Path,
) -> None:
    (tmp_path / "callee").mkdir()
    async with RtpEndpoint() as phone, RtpEndpoint() as other:
        callee_sdp = steps.sdp(steps.PCMU_LINES, other.port)
        accepting = (steps.called(), steps.responds(180, "Ringing"), steps.accepts(callee_sdp), steps.byed())
        callee = SippRun(tmp_path / "callee", None, accepting)
        web.answers |= {
            "/voice": texml(
                f'<Start><Stream url="{app.url}" track="both_tracks"/></Start>'
                f"<Dial><Sip>sip:bob@127.0.0.1:{callee.port}</Sip></Dial>"
            )
        }
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with callee, sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, port = await run.answered()
            _, other_port = await callee.answered()
            said, answered = speech(300)[:150], speech(300)[150:]
            await happens(app.watch, "the stream starts", lambda: bool(app.sockets) and app.sockets[0].started)
            phone.speak(said, port)
            other.speak(answered, other_port)
            await happens(phone.watch, "the caller hears the callee", lambda: answered[140] in _heard(phone))
            await happens(other.watch, "the callee hears the caller", lambda: said[140] in _heard(other))
            socket = app.sockets[0]
            await happens(app.watch, "the app hears the caller", lambda: said[140] in socket.payloads())
            await happens(app.watch, "and the callee", lambda: answered[140] in socket.payloads("outbound"))
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
            await callee.succeeds()


async def test_a_dialled_party_hears_its_own_document_before_the_two_are_connected(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    callee: Callable[..., SippRun],
    client: AsyncTelnyx,
    web: WebApp,
) -> None:
    async with RtpEndpoint() as phone, RtpEndpoint() as other:
        accepting = (steps.called(), steps.accepts(steps.sdp(steps.PCMU_LINES, other.port)), steps.byed())
        invite = steps.invite(steps.sdp(steps.PCMU_LINES, phone.port))
        async with callee(*accepting) as called:
            web.answers |= {
                "/voice": texml(f'<Dial><Sip url="whisper">sip:bob@127.0.0.1:{called.port}</Sip></Dial>'),
                "/whisper": texml("<Play>a.wav</Play>"),
                "/a.wav": Answer(_wav(tone(400))),
            }
            async with sipp(invite, steps.answered(), steps.ack(), steps.byed()) as run:
                call_sid, port = await run.answered()
                said = speech(1000)
                phone.speak(said, port)
                await happens(other.watch, "it hears the caller", lambda: bool(set(said) & set(_heard(other))), 20)
                before = next(place for place, payload in enumerate(_heard(other)) if payload in said)
                assert find_tones(_heard(other)[:before]).bursts == 1, "its document comes first"
                await client.calls.actions.hangup(call_sid)
                await run.succeeds()
                await called.succeeds()
    (fetch,) = web.asked("/whisper")
    assert fetch.fields["ParentCallSid"] == call_sid
    assert fetch.fields["Direction"] == "outbound"


def _heard(phone: RtpEndpoint) -> list[bytes]:
    return [packet.payload for packet in phone.heard]


async def test_a_voice_mail_is_recorded_and_its_action_notified(
    server: ServerProcess, sipp: Callable[..., SippRun], web: WebApp
) -> None:
    web.answers |= {"/voice": texml('<Record action="/mail" channels="single" maxLength="3"/>'), "/mail": texml("")}
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            _, port = await run.answered()
            phone.speak(speech(1000), port)
            await happens(phone.watch, "the beep", lambda: audible(phone))
            await run.succeeds()
    fields = web.asked("/mail")[0].fields
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as client:
        fetched = await client.get(fields["RecordingUrl"])
    with wave.open(io.BytesIO(fetched.content)) as file:
        assert file.getnchannels() == 1
        assert file.getnframes() / file.getframerate() == pytest.approx(3, abs=0.1)
        assert any(file.readframes(24000))
    assert (fields["RecordingDuration"], fields["Digits"]) == ("3", "")


async def test_the_api_redirects_a_live_call_and_reject_refuses_one(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, web: WebApp, tmp_path: Path
) -> None:
    web.answers["/voice"] = texml('<Play digits="w"/><Pause length="100"/>')
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, _ = await run.answered()
            await client.texml.accounts.calls.update(
                call_sid, account_sid=server.account_sid, texml="<Response><Say>Goodbye</Say></Response>"
            )
            await happens(phone.watch, "the new document speaks", lambda: audible(phone))
            await run.succeeds()
    assert await listed_calls(client, server.account_sid, "completed", call_sid)
    web.answers["/voice"] = texml('<Reject reason="busy"/>')
    (tmp_path / "refused").mkdir()
    async with SippRun(tmp_path / "refused", server.sip_address, (steps.invite(body), steps.declined(486))) as refused:
        await refused.succeeds()


async def test_a_cross_origin_document_is_fetched_unsigned_and_why_reports_it(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, web: WebApp
) -> None:
    async def instructions(call_sid: str) -> list[str]:
        path = f"/texml/Accounts/{server.account_sid}/Calls/{call_sid}/media.json"
        report = await client.get(path, cast_to=object)
        assert isinstance(report, dict)
        return [found["text"] for found in report["findings"] if found["code"] == "instructions"]

    async with WebApp() as other, RtpEndpoint() as phone:
        web.answers["/voice"] = Answer(status=307, headers={"Location": other.url + "/v"})
        other.answers["/v"] = texml("<Say>Hello</Say><Pause length='100'/>")
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            call_sid, _ = await run.answered()
            (text,) = await instructions(call_sid)
            assert "was asked without our signature" in text
            await client.texml.accounts.calls.update(call_sid, account_sid=server.account_sid, status="completed")
            await run.succeeds()
        (request,) = other.received
    assert (request.method, request.fields["CallSid"]) == ("POST", call_sid)
    assert "telnyx-signature-ed25519" not in request.headers
    assert await listed_calls(client, server.account_sid, "completed", call_sid)
    async with asyncio.timeout(30):
        while await instructions(call_sid) != [text]:
            pass
