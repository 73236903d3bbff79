"""Encrypted calls from outside: sipp signals, and libsrtp in the test's hands encrypts, with the right keys or not."""

import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from pylibsrtp import Error, Policy, Session
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import UNHURRIED, RecordingApp, RtpEndpoint, ended, happens, held, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
S80, S32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
PROFILES = {S80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80, S32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32}
SILENCE = {0x7F, 0xFF}
FIRST, SECOND, WRONG = (bytes(range(start, start + 30)) for start in (0, 50, 100))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server that takes encrypted calls only."""
    async with running(new_server(tmp_path, media__srtp="required", log__level="debug", **UNHURRIED)) as server:
        yield server


def secure_lines(suite: str, key: bytes, profile: str = "RTP/SAVP") -> str:
    return f"m=audio {{port}} {profile} 0\na=crypto:1 {suite} inline:{base64.b64encode(key).decode()}\n"


def sealer(suite: str, key: bytes) -> Callable[[bytes], bytes]:
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILES[suite])).protect


def unsealer(suite: str, key: str) -> Callable[[bytes], bytes]:
    """What cannot be decrypted comes out empty, so that it does not count as audio."""
    hears = Session(Policy(key=base64.b64decode(key), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[suite]))

    def unseal(packet: bytes) -> bytes:
        try:
            return hears.unprotect(packet)
        except Error:
            return b""

    return unseal


def recorded(seal: Callable[[bytes], bytes], packets: list[bytes]) -> Callable[[bytes], bytes]:
    def sealed(packet: bytes) -> bytes:
        packets.append(seal(packet))
        return packets[-1]

    return sealed


def echoed(phone: RtpEndpoint, frames: list[bytes]) -> bool:
    heard = [packet.payload for packet in phone.heard]
    return all(frame in heard for frame in frames)


def sounds(phone: RtpEndpoint, since: int) -> bool:
    """Whether it heard more than silence. After a stop late audio is squeezed, and is in no frame as it was sent."""
    return any(set(packet.payload) - SILENCE for packet in phone.heard[since:])


def report(directory: Path) -> dict[str, int | str]:
    """The counters in the record of the only call, read from the database."""
    (file,) = directory.glob("*.db")
    with closing(sqlite3.connect(file)) as database:
        ((text,),) = database.execute("SELECT report FROM calls").fetchall()
    found: dict[str, int | str] = json.loads(text)
    return found


def written(directory: Path) -> bytes:
    """All that the server has left: its log, its database."""
    return b"".join(file.read_bytes() for file in directory.iterdir() if file.is_file())


@pytest.mark.parametrize("profile", ["RTP/SAVP", "RTP/AVP"])
async def test_an_encrypted_call_is_heard_both_ways_and_wrong_keys_are_not(
    profile: str,
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    callbacks: CallbackReceiver,
    tmp_path: Path,
) -> None:
    app.echo = True
    frames = speech(200)
    async with RtpEndpoint() as phone:
        first, second = (
            steps.sdp(secure_lines(suite, key, profile), phone.port) for suite, key in ((S80, FIRST), (S32, SECOND))
        )
        scenario = (
            *(steps.invite(first), steps.answered(steps.LOG_KEY), steps.ack(), steps.waits()),
            *(steps.invite(second, 2), steps.answered(steps.LOG_KEY), steps.ack(2), steps.byed()),
        )
        async with sipp(*scenario) as run:
            call_sid, port = await run.answered()
            first_answer = run.key
            phone.seal, phone.unseal = sealer(S80, FIRST), unsealer(S80, first_answer)
            stream = await client.texml.accounts.calls.streams_json(
                call_sid,
                account_sid=server.account_sid,
                url=app.url,
                bidirectional_mode="rtp",
                status_callback=callbacks.url,
            )
            socket = await app.socket()
            phone.speak(frames[:30], port)
            await happens(phone.watch, "the echo of 30 frames", lambda: echoed(phone, frames[:30]))
            phone.seal = sealer(S80, WRONG)
            phone.speak(frames[30:40], port)
            await run.go_on()
            await run.answered()
            phone.stop()
            sent: list[bytes] = []
            phone.seal, phone.unseal = recorded(sealer(S32, SECOND), sent), unsealer(S32, run.key)
            phone.speak(frames[50:80], port)
            await happens(phone.watch, "the echo after the new key", lambda: echoed(phone, frames[50:80]))
            phone.seal = bytes
            for packet in sent[-5:]:
                phone.send(packet, port)
            phone.seal = sealer(S80, FIRST)
            phone.speak(frames[80:81], port)
            phone.seal = sealer(S32, SECOND)
            phone.speak(frames[81:82], port)
            await happens(phone.watch, "all before was read", lambda: echoed(phone, frames[81:82]))
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert stream.sid
    await ended(callbacks, stream.sid)
    expected = frames[:30] + frames[50:80] + frames[81:82]
    assert [payload for payload in socket.payloads() if payload in frames] == expected
    assert await server.stop() == 0
    counters = report(tmp_path)
    assert (counters["srtp"], counters["srtp_replayed"]) == (S32, 5)
    assert int(counters["srtp_auth_failed"]) >= 2, "of the wrong key, and of the first one after the second"
    left = written(tmp_path)
    assert first_answer != run.key
    for key in (FIRST, SECOND, base64.b64decode(first_answer), base64.b64decode(run.key)):
        assert key not in left
        assert base64.b64encode(key) not in left
        assert repr(key)[2:-1].encode() not in left


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_a_new_srtp_key_is_answered_once_the_worker_has_it(
    method: str,
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: RecordingApp,
    tmp_path: Path,
) -> None:
    app.echo = True
    frames = speech(60)
    async with RtpEndpoint() as phone:
        first, second = (steps.sdp(secure_lines(S80, key), phone.port) for key in (FIRST, SECOND))
        offers = (steps.invite(second, 2), steps.response(100)) if method == "INVITE" else (steps.update(second, 2),)
        scenario = (
            *(steps.invite(first), steps.answered(steps.LOG_KEY), steps.ack(), steps.waits()),
            *(*offers, steps.info(3, "5"), steps.waits(), steps.answered(steps.LOG_KEY)),
            *((steps.ack(2),) if method == "INVITE" else ()),
            steps.byed(),
        )
        async with sipp(*scenario, trace=True) as run:
            call_sid, port = await run.answered()
            phone.seal, phone.unseal = sealer(S80, FIRST), unsealer(S80, run.key)
            await client.texml.accounts.calls.streams_json(
                call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
            )
            socket = await app.socket()
            phone.speak(frames[:30], port)
            await happens(phone.watch, "the echo under the first key", lambda: echoed(phone, frames[:30]))
            async with held(server):
                await run.go_on()
                await run.go_on()  # when the INFO is answered
            await run.answered()
            phone.seal, phone.unseal = sealer(S80, SECOND), unsealer(S80, run.key)
            before = len(phone.heard)
            phone.speak(frames[30:], port)
            await happens(phone.watch, "the echo under the new key", lambda: sounds(phone, before))
            await happens(app.watch, "all that was said", lambda: frames[-1] in socket.payloads())
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    order = [cseq for status, cseq in run.responses if status == 200]
    assert order.index(3) < order.index(2), "the offer was answered before the worker had it"
    assert [payload for payload in socket.payloads() if payload in frames] == frames
    assert await server.stop() == 0
    assert report(tmp_path)["srtp_auth_failed"] == 0


async def test_a_new_key_whose_offer_is_cancelled_leaves_the_first_one_in_use(
    server: ServerProcess, sipp: Callable[..., SippRun], client: AsyncTelnyx, app: RecordingApp, tmp_path: Path
) -> None:
    app.echo = True
    frames = speech(60)
    async with RtpEndpoint() as phone:
        first, second = (steps.sdp(secure_lines(S80, key), phone.port) for key in (FIRST, SECOND))
        scenario = (
            *(steps.invite(first), steps.answered(steps.LOG_KEY), steps.ack(), steps.waits()),
            *(steps.invite(second, 2), steps.cancelled(2), steps.waits(), steps.byed()),
        )
        async with sipp(*scenario) as run:
            call_sid, port = await run.answered()
            phone.seal, phone.unseal = sealer(S80, FIRST), unsealer(S80, run.key)
            await client.texml.accounts.calls.streams_json(
                call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
            )
            socket = await app.socket()
            phone.speak(frames[:30], port)
            await happens(phone.watch, "the echo before", lambda: echoed(phone, frames[:30]))
            async with held(server):
                await run.go_on()
                await run.go_on()  # it is cancelled
            before = len(phone.heard)
            phone.speak(frames[30:], port)
            await happens(phone.watch, "the echo after", lambda: sounds(phone, before))
            await happens(app.watch, "all that was said", lambda: frames[-1] in socket.payloads())
            await client.calls.actions.hangup(call_sid)
            await run.succeeds()
    assert await server.stop() == 0
    assert report(tmp_path)["srtp_auth_failed"] == 0


async def test_a_plain_call_is_declined_where_encryption_is_required(sipp: Callable[..., SippRun]) -> None:
    async with sipp(steps.invite(steps.sdp(steps.PCMU_LINES)), steps.declined(488)) as run:
        await run.succeeds()
