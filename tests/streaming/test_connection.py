"""The WebSocket client, against independent servers. The test calls `LegTap` in place of a leg."""

import asyncio
import contextlib
import gc
import ssl
import weakref
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from mp3files import mp3
from stream_params import stream_params
from streaming.helpers import make_certificate, past_opening, receive, say, turn, until
from trunkline import USER_AGENT
from trunkline.config import StreamSettings
from trunkline.demo.server import free_ports
from trunkline.media.frames import LegTap
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, Track
from trunkline.streaming.socket import Sender
from trunkline.streaming.stream import StreamClosed, StreamOpened
from trunkline.streaming.throttle import BURST, MESSAGE_PRICE

MakeStream = Callable[..., Any]
ULAW = bytes(range(160))
QUICK = StreamSettings(close_timeout=0.2)


# ── the handshake ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_handshake_names_us_and_offers_no_extension(app: Any, make_stream: MakeStream) -> None:
    url = app.url.replace("ws://", "ws://user:pa%20ss@") + "/media;v=1?a=%20b&c=d+e&"
    stream = make_stream(url, auth_token="t0ken")
    await stream.open()
    peer = await app.connection()
    headers = peer.request.headers
    assert peer.request.path == "/media;v=1?a=%20b&c=d+e&"
    assert headers["Host"] == app.url.removeprefix("ws://")
    assert headers["User-Agent"] == USER_AGENT
    assert headers["x-telnyx-streaming-auth-token"] == "t0ken"
    assert headers["Authorization"] == "Basic " + b64encode(b"user:pa ss").decode()
    assert "Sec-WebSocket-Protocol" not in headers
    assert "Sec-WebSocket-Extensions" not in headers
    connected = await receive(peer)
    assert connected["connected"] == {"x-telnyx-streaming-auth-token": "t0ken"}
    assert (await receive(peer))["event"] == "start"
    stream.connection.close("done")
    assert await stream.end() == StreamClosed(None, "done")


async def test_the_whole_life_of_a_stream(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, track=Track.BOTH)
    connection: StreamConnection = stream.connection
    port: LegTap = connection.stream
    assert (port.inbound, port.outbound, port.plays) == (True, True, True)
    port.leg_changed("PCMU", 20)
    port.inbound_frame(ULAW, 0, 0)  # not started: dropped
    await stream.open()
    peer = await app.connection()
    port.inbound_frame(ULAW, 100, 0)
    port.outbound_frame(bytes(160), 103)
    port.digit("#")
    port.inbound_frame(ULAW, 140, 1)
    stream.connection.close("the call ended")
    port.inbound_frame(ULAW, 160, 0)  # closed: dropped
    frames = [await receive(peer) for _ in range(7)]
    assert [frame["event"] for frame in frames] == [
        "connected", "start", "media", "media", "dtmf", "media", "stop",
    ]  # fmt: skip
    assert [frame["sequence_number"] for frame in frames[1:]] == ["1", "2", "3", "4", "5", "6"]
    first, second = frames[2]["media"], frames[5]["media"]
    assert b64decode(first["payload"]) == ULAW
    assert (first["chunk"], second["chunk"]) == ("1", "3")
    assert int(second["timestamp"]) - int(first["timestamp"]) == 40
    assert int(frames[3]["media"]["timestamp"]) - int(first["timestamp"]) == 3
    assert frames[4]["dtmf"] == {"digit": "#"}
    occurred = datetime.fromisoformat(frames[4]["occurred_at"])
    assert abs(datetime.now(UTC) - occurred) < timedelta(seconds=5)
    with pytest.raises(ConnectionClosed):
        await peer.recv()
    assert peer.close_code == 1000
    assert await stream.end() == StreamClosed(None, "the call ended")
    assert stream.facts == [StreamOpened(), StreamClosed(None, "the call ended")]
    report = stream.connection.stream.report()
    assert (report.frames_sent, report.frames_dropped, report.frames_missing) == (3, 0, 1)


@pytest.mark.parametrize(("asked", "setting"), [("big", "little"), ("little", "big"), (None, "big"), (None, "little")])
async def test_the_byte_order_of_l16_is_the_streams_both_ways(
    app: Any, make_stream: MakeStream, asked: Literal["little", "big"] | None, setting: Literal["little", "big"]
) -> None:
    order, samples = asked or setting, [0x0102, -2, 300, 0x7F00] * 40
    stream = make_stream(
        app.url,
        settings=StreamSettings(l16_endian=setting, prebuffer=0),
        encoding="L16/8000",
        mode=BidirectionalMode.RTP,
        bidirectional_codec="L16",
        l16_endian=asked,
    )
    connection: StreamConnection = stream.connection
    connection.stream.leg_changed("L16/8000", 20)
    await stream.open()
    peer = await app.connection()
    await past_opening(peer)
    connection.stream.inbound_frame(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples), 0, 0)
    sent = b"".join(sample.to_bytes(2, order, signed=True) for sample in samples)
    assert b64decode((await receive(peer))["media"]["payload"]) == sent
    await say(peer, event="media", media={"payload": b64encode(sent).decode()})
    await until(lambda: stream.connection.stream.report().bytes_received == 320)
    assert connection.stream.next_frame(0) == b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    connection.close("done")
    await stream.end()


# ── no socket ───────────────────────────────────────────────────────────────────────────────────────────────


async def failure(stream: Any) -> str:
    stream.connection.start()
    ended = await stream.end()
    assert stream.facts == [ended]
    assert ended.error
    return str(ended.error)


@pytest.mark.parametrize("status", [HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED, HTTPStatus.INTERNAL_SERVER_ERROR])
async def test_a_refused_upgrade_is_reported_with_its_status(
    run_app: Any, make_stream: MakeStream, status: HTTPStatus
) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, "no")

    async with run_app(process_request=refuse) as app:
        error = await failure(make_stream(app.url + "/?secret=1"))
    assert f"HTTP {status.value}" in error
    assert "secret" not in error


async def test_a_redirect_is_not_followed(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer, _ = await raw_peer.accept()
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    assert "HTTP 302" in (await stream.end()).error


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: bm90IHRoYXQ=\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-\xff: \xff\r\n\r\n",
        b"x" * 100_000,
        b"\r\n\r\n",
    ],
)
async def test_garbage_instead_of_an_upgrade_is_an_error_with_a_reason(
    raw_peer: Any, make_stream: MakeStream, answer: bytes
) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer, _ = await raw_peer.accept()
    writer.write(answer)
    assert "upgrade" in (await stream.end()).error


async def test_a_server_that_hangs_up_on_the_upgrade(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer, _ = await raw_peer.accept()
    writer.close()
    assert "closed the connection" in (await stream.end()).error


async def test_a_port_that_refuses_connections(make_stream: MakeStream) -> None:
    port = free_ports(1)
    assert await failure(make_stream(f"ws://localhost:{port}/")) == f"connection refused by localhost port {port}"


async def test_a_name_that_does_not_resolve(make_stream: MakeStream) -> None:
    assert (await failure(make_stream("ws://no-such-host.invalid/"))).startswith("DNS: no-such-host.invalid")


@pytest.mark.parametrize("url", ["ws://a..b/", f"ws://{'a' * 70}/"])
async def test_an_invalid_host_name(make_stream: MakeStream, url: str) -> None:
    assert len(await failure(make_stream(url))) > 10


async def test_a_server_that_never_answers_times_out_and_is_disconnected(
    raw_peer: Any, make_stream: MakeStream
) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=StreamSettings(connect_timeout=0.3))
    stream.connection.start()
    reader, _, _ = await raw_peer.accept()
    assert (await stream.end()).error == f"timeout: no WebSocket to 127.0.0.1 port {raw_peer.port} within 0.3 s"
    async with asyncio.timeout(30):
        assert await reader.read() == b""


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tls_with_a_configured_ca(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    context, ca_file = make_certificate(tmp_path, "127.0.0.1")
    async with run_app(context=context) as app:
        stream = make_stream(app.url, settings=StreamSettings(ca_file=ca_file))
        await stream.open()
        peer = await app.connection()
        await past_opening(peer)
        for number in range(50):
            stream.connection.stream.inbound_frame(ULAW, number * 20, 0)
        payloads = [b64decode((await receive(peer))["media"]["payload"]) for _ in range(50)]
        stream.connection.close("done")
        assert (await receive(peer))["event"] == "stop"
        assert (await stream.end()).error is None
    assert payloads == [ULAW] * 50


async def test_an_untrusted_certificate_is_refused(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    context, _ = make_certificate(tmp_path, "127.0.0.1")
    async with run_app(context=context) as app:
        error = await failure(make_stream(app.url))
    assert error.startswith("TLS: the certificate of 127.0.0.1")
    assert "unable to get local issuer certificate" in error


async def test_a_certificate_of_another_host_is_refused(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    context, ca_file = make_certificate(tmp_path, "127.0.0.9")
    async with run_app(context=context) as app:
        error = await failure(make_stream(app.url, settings=StreamSettings(ca_file=ca_file)))
    assert error.startswith("TLS: the certificate of 127.0.0.1")
    assert "mismatch" in error


async def test_a_server_that_requires_a_client_certificate_is_reported_once(
    run_app: Any, make_stream: MakeStream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context, ca_file = make_certificate(tmp_path, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = (
        ssl.TLSVersion.TLSv1_2
    )  # with TLS 1.3 our handshake is complete before the server verifies us
    async with run_app(context=context) as app:
        error = await failure(make_stream(app.url, settings=StreamSettings(ca_file=ca_file)))
    # Its alert, unless the end of the connection overtakes it.
    assert error.startswith("TLS with 127.0.0.1") or "broke off the TLS handshake" in error
    assert not [record for record in caplog.records if record.name == "asyncio"], "it is in the stream's own words"


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS: is it ws://"), (b"", "broke off the TLS handshake")],
)
async def test_tls_to_a_server_without_tls(raw_peer: Any, make_stream: MakeStream, answer: bytes, words: str) -> None:
    stream = make_stream(f"wss://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    reader, writer = await raw_peer.peers.get()
    await reader.read(1000)
    writer.write(answer)
    writer.close()
    assert words in (await stream.end()).error


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_an_unusable_ca_file_is_reported(make_stream: MakeStream, tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    error = await failure(make_stream("wss://127.0.0.1/", settings=StreamSettings(ca_file=ca_file)))
    assert error.startswith(f"TLS: no certificates in {ca_file}: ")


# ── the app ends it ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [1000, 1001])
async def test_an_app_that_closes_normally_stops_the_stream(app: Any, make_stream: MakeStream, code: int) -> None:
    stream = make_stream(app.url)
    await stream.open()
    peer = await app.connection()
    await peer.close(code)
    assert await stream.end() == StreamClosed(None, "the app closed the socket")
    assert peer.close_code == code


@pytest.mark.parametrize(("code", "reason"), [(1011, "out of memory"), (4321, "")])
async def test_an_app_that_closes_with_another_code_is_an_error(
    app: Any, make_stream: MakeStream, code: int, reason: str
) -> None:
    stream = make_stream(app.url)
    await stream.open()
    await (await app.connection()).close(code, reason)
    error = (await stream.end()).error
    assert error == f"the app closed the socket with {code}" + (f": {reason}" if reason else "")


async def test_a_close_frame_without_a_code_is_a_normal_end(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    _, writer = await raw_peer.upgrade()
    writer.write(b"\x88\x00")
    assert (await stream.end()).error is None


async def test_an_app_that_disconnects_is_an_error(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    (await app.connection()).transport.abort()
    assert await stream.end() == StreamClosed("the connection was lost", "the connection was lost")


async def test_the_first_cause_counts(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    peer = await app.connection()
    stream.connection.close("first")
    await peer.close(1011, "second")
    stream.connection.close("third")
    assert await stream.end() == StreamClosed(None, "first")


# ── we end it ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_close_while_connecting_ends_at_once(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    reader, _, _ = await raw_peer.accept()
    stream.connection.close("the call ended")
    assert await stream.end() == StreamClosed(None, "the call ended")
    assert len(stream.facts) == 1
    async with asyncio.timeout(30):
        assert await reader.read() == b""


async def test_close_right_after_start_and_before_it(make_stream: MakeStream) -> None:
    right_after = make_stream("ws://127.0.0.1:1/")
    right_after.connection.start()
    right_after.connection.close("early")
    assert await right_after.end() == StreamClosed(None, "early")
    before = make_stream("ws://127.0.0.1:1/")
    before.connection.close("earlier")
    before.connection.start()
    assert await before.end() == StreamClosed(None, "earlier")


async def test_an_upgrade_that_comes_after_close_opens_nothing(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/")
    stream.connection.start()
    await raw_peer.upgrade()
    stream.connection.close("just then")
    assert await stream.end() == StreamClosed(None, "just then")
    assert StreamOpened() not in stream.facts


async def test_a_peer_that_never_answers_the_close(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=QUICK)
    stream.connection.start()
    reader, _ = await raw_peer.upgrade()
    await stream.open()
    stream.connection.close("done")
    assert await stream.end() == StreamClosed(None, "done")
    async with asyncio.timeout(30):
        assert (await reader.read()).count(b"\x88\x82") == 1  # one close frame with a code, then the end


async def test_a_cancelled_task_still_reports_the_end(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    before = asyncio.all_tasks()
    stream.connection.start()
    (task,) = asyncio.all_tasks() - before
    task.cancel()
    assert (await stream.end()).error == "the stream was cancelled"


class NoDecoder:
    """Refuses everything."""

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        return Refusal(Problem.UNKNOWN, "no decoder")

    def cancel(self, job: int) -> None:
        raise AssertionError


async def test_an_exception_of_the_owner_is_an_error_not_a_dead_task(app: Any, identity: StreamIdentity) -> None:
    facts: list[StreamOpened | StreamClosed] = []

    def on_fact(fact: StreamOpened | StreamClosed) -> None:
        facts.append(fact)
        if isinstance(fact, StreamOpened):
            raise RuntimeError("bug")

    connection = StreamConnection(
        stream_params(app.url),
        identity,
        "PCMU",
        StreamSettings(),
        on_fact,
        NoDecoder(),
        lambda digits: None,
        Sender(),
    )
    connection.start()
    async with asyncio.timeout(30):
        await connection.wait_closed()
    assert facts == [StreamOpened(), StreamClosed("internal error", "internal error")]


# ── both directions ─────────────────────────────────────────────────────────────────────────────────────────


async def test_in_mp3_mode_a_file_is_played_and_its_mark_comes_back(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    connection = stream.connection
    connection.stream.leg_changed("PCMU", 20)
    peer = await app.connection()
    await past_opening(peer)
    await say(peer, event="media", media={"payload": b64encode(mp3(seconds=0.1)).decode()})
    await say(peer, event="mark", mark={"name": "end"})
    await until(lambda: connection.stream.report().queued_ms == 100)
    frames = [connection.stream.next_frame(at) for at in range(0, 120, 20)]
    assert [frame is not None and len(frame) for frame in frames] == [160] * 5 + [False]
    assert (await receive(peer))["mark"] == {"name": "end"}
    await say(peer, event="media", media={"payload": b64encode(ULAW).decode()})
    assert (await receive(peer))["payload"]["code"] == 100004
    assert connection.stream.report().errors == {"invalid_media": 1}
    connection.close("done")
    assert await stream.end() == StreamClosed(None, "done")


async def test_the_apps_audio_is_played_and_its_marks_come_back(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, mode=BidirectionalMode.RTP)
    connection = stream.connection
    assert connection.stream.plays
    await stream.open()
    connection.stream.leg_changed("PCMU", 20)
    peer = await app.connection()
    await past_opening(peer)
    await say(peer, event="media", media={"payload": b64encode(ULAW * 3).decode()})
    await say(peer, event="mark", mark={"name": 7})
    await until(lambda: connection.stream.report().messages_received == 2)
    assert [connection.stream.next_frame(at) for at in (0, 20, 40, 60)] == [ULAW, ULAW, ULAW, None]
    assert (await receive(peer))["mark"] == {"name": 7}
    await say(peer, event="media", media={"payload": b64encode(bytes(16000)).decode()})
    await say(peer, event="mark", mark={"name": "a"})
    await say(peer, event="clear")
    assert (await receive(peer))["mark"] == {"name": "a"}
    assert connection.stream.next_frame(80) is None
    report = connection.stream.report()
    assert (report.bytes_received, report.played_ms, report.cleared_ms, report.marks) == (16480, 60, 2000, 2)
    connection.close("done")
    await stream.end()


async def test_bad_input_is_answered_and_the_stream_goes_on(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    peer = await app.connection()
    await past_opening(peer)
    for bad in ("garbage", b"\x00\x01", '{"event":"dance"}', '{"event":"media","media":{"payload":"AA=="}}'):
        await peer.send(bad)
    codes = [(await receive(peer))["payload"]["code"] for _ in range(4)]
    assert codes == [100003, 100003, 100002, 100004]
    stream.connection.stream.inbound_frame(ULAW, 0, 0)
    assert (await receive(peer))["event"] == "media"
    assert stream.connection.stream.report().errors == {"malformed_frame": 2, "unknown_error": 1, "invalid_media": 1}
    stream.connection.close("done")
    await stream.end()


async def test_fragmented_messages_are_joined(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    peer = await app.connection()
    await past_opening(peer)
    await peer.send(['{"event":"mark","ma', 'rk":{"na', 'me":"joined"}}'])
    assert (await receive(peer))["mark"] == {"name": "joined"}
    await peer.send([b"bin", b"ary"])
    assert (await receive(peer))["payload"]["code"] == 100003
    stream.connection.close("done")
    await stream.end()


async def test_a_message_over_the_limit_closes_with_1009(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    peer = await app.connection()
    with contextlib.suppress(ConnectionClosed):  # closed before all of it was sent, or after
        await peer.send("x" * 10_000_000)
    await peer.wait_closed()
    assert peer.close_code == 1009
    error = (await stream.end()).error
    assert error is not None
    assert "8388608 bytes" in error
    assert "1009" in error


async def test_fragments_over_the_limit_close_with_1009(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=StreamSettings(message_limit=2048))
    await stream.open()
    peer = await app.connection()
    await peer.send(["x" * 1500, "x" * 1500])
    await peer.wait_closed()
    assert peer.close_code == 1009
    assert "2048 bytes" in (await stream.end()).error


@pytest.mark.parametrize(
    "frames",
    [
        b"\x80\x01x",  # a continuation of nothing
        b"\x01\x01x\x81\x01x",  # a new message amid fragments
        b"\x83\x01x",  # a reserved opcode
        b"\x81\x81\x00\x00\x00\x00x",  # a masked frame from a server
        b"\x09\x01x",  # a fragmented ping
        b"\x88\x01x",  # half a close code
        b"\x88\x02\x03\xed",  # close code 1005, which is never sent
        b"\x88\x03\x03\xe8\xff",  # a reason that is not UTF-8
    ],
)
async def test_a_protocol_violation_is_an_error_with_a_reason(
    raw_peer: Any, make_stream: MakeStream, frames: bytes
) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=QUICK)
    stream.connection.start()
    reader, writer = await raw_peer.upgrade()
    await stream.open()
    writer.write(frames)
    async with asyncio.timeout(30):
        assert b"\x88" in await reader.read()
    assert "the app" in (await stream.end()).error


# ── pings ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_apps_pings_are_answered(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url)
    await stream.open()
    async with asyncio.timeout(30):
        await (await (await app.connection()).ping(b"now"))
    stream.connection.close("done")
    await stream.end()


async def test_an_app_that_answers_no_ping_is_lost(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(
        f"ws://127.0.0.1:{raw_peer.port}/", settings=StreamSettings(ping_interval=0.05, pong_timeout=0.1)
    )
    stream.connection.start()
    await raw_peer.upgrade()
    await stream.open()
    assert (await stream.end()).error == "the app answered no ping for 0.1 s"


async def test_an_app_that_answers_pings_stays(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(
        f"ws://127.0.0.1:{raw_peer.port}/", settings=StreamSettings(ping_interval=0.05, pong_timeout=1)
    )
    stream.connection.start()
    reader, writer = await raw_peer.upgrade()
    await stream.open()
    async with asyncio.timeout(30):
        for _ in range(30):
            await reader.readuntil(b"\x89\x80")  # an empty, masked ping
            writer.write(b"\x8a\x00")
    assert stream.facts == [StreamOpened()]
    stream.connection.close("done")
    writer.write(b"\x88\x00")
    assert (await stream.end()).error is None


# ── an app that sends too much ──────────────────────────────────────────────────────────────────────────────


async def flooded(app: Any, stream: Any) -> None:
    """3000 marks at once are all returned in order, but throttled. No ping wakes a
    socket on which reading was resumed."""
    await stream.open()
    peer = await app.connection()
    await past_opening(peer)
    loop = asyncio.get_running_loop()
    began = loop.time()
    sending = asyncio.ensure_future(asyncio.gather(*(say(peer, event="mark", mark={"name": n}) for n in range(3000))))
    assert [(await receive(peer))["mark"]["name"] for _ in range(3000)] == list(range(3000))
    assert loop.time() - began > 3000 * MESSAGE_PRICE - 2 * BURST
    await sending
    stream.connection.close("done")
    assert (await stream.end()).error is None


async def test_a_flooding_app_is_throttled(app: Any, make_stream: MakeStream) -> None:
    await flooded(app, make_stream(app.url, settings=StreamSettings(ping_interval=3600)))


async def test_a_flooding_app_behind_tls_is_throttled(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    context, ca_file = make_certificate(tmp_path, "127.0.0.1")
    async with run_app(context=context) as app:
        await flooded(app, make_stream(app.url, settings=StreamSettings(ca_file=ca_file, ping_interval=3600)))


# ── an app that does not read ───────────────────────────────────────────────────────────────────────────────


async def stall(stream: Any) -> int:
    """Hand over frames until the kernel has taken none of the last 200. Returns how many there were.

    Counting frames alone would not do: the kernel may take more at any moment, as late as its window probe."""
    handed, taken, full = 0, 0, 0
    while full < 200:
        stream.connection.stream.inbound_frame(ULAW, handed * 20, 0)
        handed += 1
        if handed % 50 == 0:
            await turn()
            before, taken = taken, stream.connection.stream.report().frames_sent
            full = full + 50 if taken == before else 0
    return handed


async def stalled_app_reads_again(app: Any, stream: Any) -> None:
    await stream.open()
    peer = await app.connection()
    await past_opening(peer)
    peer.transport.pause_reading()
    handed = await stall(stream)
    report = stream.connection.stream.report()
    assert report.frames_dropped >= 100
    assert handed - report.frames_sent - report.frames_dropped == 100  # two seconds are buffered
    stream.connection.stream.digit("1")
    peer.transport.resume_reading()
    chunks, events = [], []
    while "dtmf" not in events:
        frame = await receive(peer)
        events.append(frame["event"])
        if frame["event"] == "media":
            chunks.append(int(frame["media"]["chunk"]))
    assert chunks == sorted(chunks)
    assert chunks[-100:] == list(range(handed - 99, handed + 1))
    assert len(chunks) == handed - report.frames_dropped
    stream.connection.close("done")
    await stream.end()


async def test_a_stalled_app_loses_the_oldest_frames_and_gets_the_newest(app: Any, make_stream: MakeStream) -> None:
    await stalled_app_reads_again(app, make_stream(app.url))


async def test_a_stalled_app_behind_tls(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    context, ca_file = make_certificate(tmp_path, "127.0.0.1")
    async with run_app(context=context) as app:
        await stalled_app_reads_again(app, make_stream(app.url, settings=StreamSettings(ca_file=ca_file)))


async def test_a_stalled_app_does_not_delay_the_end(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=QUICK)
    await stream.open()
    peer = await app.connection()
    peer.transport.pause_reading()
    await stall(stream)
    stream.connection.close("the call ended")
    assert await stream.end() == StreamClosed(None, "the call ended")
    peer.transport.abort()


# ── as in a worker ──────────────────────────────────────────────────────────────────────────────────────────


async def closed_by_us(stream: Any, app: Any) -> None:
    await stream.open()
    await say(await app.connection(), event="mark", mark={"name": "m"})
    stream.connection.stream.inbound_frame(ULAW, 0, 0)
    stream.connection.close("done")


async def closed_while_connecting(stream: Any, app: Any) -> None:
    stream.connection.start()
    await turn()
    stream.connection.close("done")


async def refused_by_the_app(stream: Any, app: Any) -> None:
    app.server.close(close_connections=False)
    await app.server.wait_closed()
    stream.connection.start()


async def cancelled(stream: Any, app: Any) -> None:
    before = asyncio.all_tasks()
    stream.connection.start()
    (task,) = asyncio.all_tasks() - before
    await turn()
    task.cancel()


async def too_long_a_message(stream: Any, app: Any) -> None:
    await stream.open()
    await (await app.connection()).send("x" * 3000)


async def vanished(stream: Any, app: Any) -> None:
    await stream.open()
    (await app.connection()).transport.abort()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "way", [closed_by_us, closed_while_connecting, refused_by_the_app, cancelled, too_long_a_message, vanished]
)
def test_nothing_is_left_behind_without_a_cyclic_collector(
    run_app: Any, make_stream: MakeStream, tmp_path: Path, way: Callable[[Any, Any], Awaitable[None]], tls: bool
) -> None:
    async def scenario() -> None:
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        async with run_app(context=context if tls else None) as app:
            stream = make_stream(app.url, settings=StreamSettings(ca_file=ca_file, message_limit=2048))
            await way(stream, app)
            await stream.end()
            left = [weakref.ref(stream.connection), weakref.ref(stream.connection.stream)]
            del stream
            await until(lambda: not any(reference() for reference in left))

    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scenario())
    finally:
        gc.enable()


def test_the_same_on_uvloop_where_workers_run(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    async def scenario() -> None:
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        for tls in (None, context):
            async with run_app(context=tls) as app:
                await stalled_app_reads_again(app, make_stream(app.url, settings=StreamSettings(ca_file=ca_file)))
        assert "refused" in await failure(make_stream(f"ws://127.0.0.1:{free_ports(1)}/"))
        untrusted = StreamSettings()
        async with run_app(context=context) as app:
            assert "local issuer" in await failure(make_stream(app.url, settings=untrusted))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
