"""A stream that loses its socket, against independent servers. The test calls the stream in place of a leg."""

import asyncio
import contextlib
import gc
import itertools
import json
import socket
import weakref
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from streaming.helpers import make_certificate, past_opening, receive, say, turn, until
from trunkline.config import StreamSettings
from trunkline.demo.server import free_ports
from trunkline.outbound import names as names_module
from trunkline.streaming.params import BidirectionalMode, Track
from trunkline.streaming.stream import StreamClosed, StreamOpened

MakeStream = Callable[..., Any]
SOON = StreamSettings(reconnect_delay=0.02, reconnect_delay_max=0.1, reconnect_window=60, close_timeout=0.2)
"""Tries without long waits."""


class Leg:
    """Frames that differ, one every 20 ms of the leg's time."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._at: Iterator[int] = itertools.count(0, 20)
        self.sent: list[bytes] = []

    def speak(self, count: int) -> None:
        """Hand over so many frames."""
        for at in itertools.islice(self._at, count):
            frame = at.to_bytes(4, "big") * 40
            self.sent.append(frame)
            self.stream.connection.stream.inbound_frame(frame, at, 0)


async def media(peer: ServerConnection, count: int) -> list[dict[str, Any]]:
    """The next messages, which are all media."""
    frames = [await receive(peer) for _ in range(count)]
    assert {frame["event"] for frame in frames} <= {"media"}
    return [frame["media"] | {"sequence": frame["sequence_number"]} for frame in frames]


def payloads(frames: list[dict[str, Any]]) -> list[bytes]:
    return [b64decode(frame["payload"]) for frame in frames]


def numbers(first: int, count: int) -> list[str]:
    return [str(number) for number in range(first, first + count)]


async def finish(stream: Any, reason: str = "done") -> None:
    stream.connection.close(reason)
    assert await stream.end() == StreamClosed(None, reason)
    assert [type(fact) for fact in stream.facts] == [StreamOpened, StreamClosed]


def port_of(app: Any) -> int:
    return int(app.url.rsplit(":", 1)[1])


async def app_restarts(run_app: Any, make_stream: MakeStream, settings: StreamSettings, context: Any) -> None:
    """The app's process dies during the call and returns on the same port: it receives all of the last two seconds."""
    async with run_app(context=context) as app:
        stream = make_stream(app.url, settings=settings, enable_reconnect=True)
        leg = Leg(stream)
        await stream.open()
        peer = await app.connection()
        await past_opening(peer)
        leg.speak(50)
        before = await media(peer, 50)
        peer.transport.abort()
    await until(lambda: stream.connection.stream.waiting)
    leg.speak(30)
    async with run_app(context=context, port=port_of(app)) as app:
        peer = await app.connection()
        connected, start = await receive(peer), await receive(peer)
        await until(lambda: stream.connection.stream.report().reconnects == 1)
        leg.speak(20)
        after = await media(peer, 100)
        assert connected["event"] == "connected"
        assert (start["event"], start["sequence_number"]) == ("start", "1")
        assert start["stream_id"] == "32de0dea-53cb-4b21-89a4-9e1819c043bc"
        assert payloads(before) == leg.sent[:50]
        assert payloads(after) == leg.sent
        assert [frame["sequence"] for frame in after] == numbers(2, 100)
        assert [frame["chunk"] for frame in after] == numbers(1, 100)
        assert [frame["timestamp"] for frame in after] == [str(at) for at in range(0, 2000, 20)]
        await finish(stream)
        assert json.loads(await peer.recv())["event"] == "stop"
    report = stream.connection.stream.report()
    assert (report.frames_sent, report.frames_dropped, report.reconnects) == (150, 0, 1)


async def test_an_app_that_restarts_in_mid_call_loses_nothing(run_app: Any, make_stream: MakeStream) -> None:
    await app_restarts(run_app, make_stream, SOON, None)


async def test_the_same_behind_tls(run_app: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    context, ca_file = make_certificate(tmp_path, "127.0.0.1")
    await app_restarts(run_app, make_stream, SOON.model_copy(update={"ca_file": ca_file}), context)


def test_the_same_on_uvloop_where_workers_run(run_app: Any, make_stream: MakeStream) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(app_restarts(run_app, make_stream, SOON, None))


async def lose(stream: Any, app: Any) -> None:
    """The open socket breaks; the app goes on listening, so another comes."""
    peer = await app.connection()
    await past_opening(peer)
    peer.transport.abort()


async def test_an_outage_longer_than_the_bound_loses_the_oldest_and_counts_them(
    run_app: Any, make_stream: MakeStream
) -> None:
    async with run_app() as app:
        stream = make_stream(app.url, settings=SOON, enable_reconnect=True)
        leg = Leg(stream)
        await stream.open()
        await lose(stream, app)
    await until(lambda: stream.connection.stream.waiting)
    leg.speak(250)
    report = stream.connection.stream.report()
    assert (report.frames_lost, report.frames_dropped) == (150, 0), "it cannot be blamed for reading too slowly"
    async with run_app(port=port_of(app)) as app:
        peer = await app.connection()
        await past_opening(peer)
        assert payloads(await media(peer, 100)) == leg.sent[150:]
        await finish(stream)


async def test_without_a_socket_the_report_has_the_reason(run_app: Any, make_stream: MakeStream) -> None:
    """Of the first one as of the next."""
    async with run_app() as app:
        port = port_of(app)
    stream = make_stream(app.url, settings=SOON, enable_reconnect=True)
    refused = f"connection refused by 127.0.0.1 port {port}"
    with structlog.testing.capture_logs() as logs:
        stream.connection.start()
        await until(lambda: stream.connection.stream.report().failed_tries == 2)
    assert [line["reason"] for line in logs] == [refused], "once, not for each try"
    assert (stream.connection.stream.state, stream.connection.stream.report().last_cause) == ("connecting", refused)
    async with run_app(port=port) as app:
        await until(lambda: stream.connection.stream.state == "open")
        assert stream.connection.stream.report().failed_tries == 0
        await lose(stream, app)
        await until(lambda: stream.connection.stream.report().reconnects == 1)
        assert stream.connection.stream.report().last_cause == "the connection was lost"
        await lose(stream, app)
    await until(lambda: stream.connection.stream.report().failed_tries > 0)
    assert (stream.connection.stream.state, stream.connection.stream.report().last_cause) == ("reconnecting", refused)
    await finish(stream)


async def test_with_replay_0_the_new_socket_begins_with_what_comes(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON.model_copy(update={"replay": 0}), enable_reconnect=True)
    leg = Leg(stream)
    await stream.open()
    leg.speak(3)
    (await app.connection()).transport.abort()
    await until(lambda: stream.connection.stream.waiting)
    leg.speak(5)
    peer = await app.connection()
    await past_opening(peer)
    leg.speak(2)
    assert payloads(await media(peer, 2)) == leg.sent[8:]
    assert stream.connection.stream.report().frames_lost == 5
    await finish(stream)


async def test_both_tracks_share_a_timeline_on_every_socket(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON, enable_reconnect=True, track=Track.BOTH)
    connection = stream.connection
    await stream.open()
    connection.stream.outbound_frame(b"b" * 160, 1013)
    connection.stream.inbound_frame(b"a" * 160, 1000, 0)
    await lose(stream, app)
    await until(lambda: connection.stream.waiting)
    connection.stream.inbound_frame(b"c" * 160, 1060, 2)
    connection.stream.outbound_frame(b"d" * 160, 1033)
    peer = await app.connection()
    await past_opening(peer)
    frames = await media(peer, 4)
    assert [(frame["track"], frame["chunk"], frame["timestamp"]) for frame in frames] == [
        ("outbound", "1", "13"), ("inbound", "1", "0"), ("inbound", "4", "60"), ("outbound", "2", "33"),
    ]  # fmt: skip
    assert connection.stream.report().frames_missing == 2
    await finish(stream)


async def test_a_codec_change_during_an_outage_keeps_the_replay_valid(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON, enable_reconnect=True)
    connection = stream.connection
    connection.stream.leg_changed("PCMU", 20)
    await stream.open()
    connection.stream.inbound_frame(b"\xff" * 160, 0, 0)
    await lose(stream, app)
    await until(lambda: connection.stream.waiting)
    connection.stream.leg_changed("PCMA", 20)
    connection.stream.inbound_frame(b"\xd5" * 160, 20, 0)
    peer = await app.connection()
    await receive(peer)
    assert (await receive(peer))["start"]["media_format"]["encoding"] == "PCMU"
    assert payloads(await media(peer, 2)) == [b"\xff" * 160, b"\xfe" * 160]
    await finish(stream)


async def test_playback_goes_on_and_its_marks_come_back_on_the_new_socket(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON, enable_reconnect=True, mode=BidirectionalMode.RTP)
    connection = stream.connection
    await stream.open()
    connection.stream.leg_changed("PCMU", 20)
    peer = await app.connection()
    await past_opening(peer)
    for name in ("first", "second"):
        await say(peer, event="media", media={"payload": b64encode(b"m" * 480).decode()})
        await say(peer, event="mark", mark={"name": name})
    await until(lambda: connection.stream.report().messages_received == 4)
    peer.transport.abort()
    await until(lambda: connection.stream.waiting)
    assert [connection.stream.next_frame(at) for at in (0, 20, 40, 60)] == [b"m" * 160] * 4
    connection.stream.digit("5")
    peer = await app.connection()
    await past_opening(peer)
    assert (await receive(peer))["dtmf"] == {"digit": "5"}
    assert (await receive(peer))["mark"] == {"name": "first"}
    await until(lambda: connection.stream.report().reconnects == 1)
    assert [connection.stream.next_frame(at) for at in (80, 100, 120)] == [b"m" * 160] * 2 + [None]
    assert (await receive(peer))["mark"] == {"name": "second"}
    await finish(stream)


def test_nothing_is_left_behind_without_a_cyclic_collector(
    run_app: Any, make_stream: MakeStream, tmp_path: Path
) -> None:
    async def live(app: Any, settings: StreamSettings) -> list[weakref.ref[Any]]:
        stream = make_stream(app.url, settings=settings, enable_reconnect=True)
        await stream.open()
        await lose(stream, app)
        await lose(stream, app)
        await until(lambda: stream.connection.stream.report().reconnects == 2)
        await finish(stream)
        return [weakref.ref(stream.connection), weakref.ref(stream.connection.stream)]

    async def scenario() -> None:
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        async with run_app(context=context) as app:
            left = await live(app, SOON.model_copy(update={"ca_file": ca_file}))
            await until(lambda: not any(reference() for reference in left))

    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scenario())
    finally:
        gc.enable()


# ── lost and closed sockets ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [1001, 1002, 1006, 1011, 1012, 1013, 4000])
async def test_another_close_code_is_a_loss(raw_peer: Any, make_stream: MakeStream, code: int) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=SOON, enable_reconnect=True)
    stream.connection.start()
    _, writer = await raw_peer.upgrade()
    await stream.open()
    writer.write(b"\x88\x02" + code.to_bytes(2, "big"))
    await raw_peer.upgrade()
    await until(lambda: stream.connection.stream.report().reconnects == 1)
    await finish(stream)


@pytest.mark.parametrize("close", [b"\x88\x02\x03\xe8", b"\x88\x00"])
async def test_a_proper_close_is_the_end(raw_peer: Any, make_stream: MakeStream, close: bytes) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=SOON, enable_reconnect=True)
    stream.connection.start()
    _, writer = await raw_peer.upgrade()
    await stream.open()
    writer.write(close)
    assert await stream.end() == StreamClosed(None, "the app closed the socket")


async def test_an_app_that_answers_no_ping_is_dialled_again(raw_peer: Any, make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"ping_interval": 0.05, "pong_timeout": 0.1})
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=settings, enable_reconnect=True)
    stream.connection.start()
    await raw_peer.upgrade()
    await raw_peer.upgrade()
    await until(lambda: stream.connection.stream.report().reconnects == 1)
    await finish(stream)


async def test_too_long_a_message_closes_the_socket_but_not_the_stream(app: Any, make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"message_limit": 2048})
    stream = make_stream(app.url, settings=settings, enable_reconnect=True)
    await stream.open()
    peer = await app.connection()
    await peer.send("x" * 3000)
    await past_opening(await app.connection())
    assert peer.close_code == 1009
    await finish(stream)


async def test_an_exception_in_our_code_is_the_end(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON, enable_reconnect=True)
    await stream.open()
    stream.connection.fail("internal error on the packet path")
    assert (await stream.end()).error == "internal error on the packet path"
    assert (await app.connection()).close_code in (None, 1011)


# ── the first socket ────────────────────────────────────────────────────────────────────────────────────────


async def test_an_app_that_comes_up_late_is_found(run_app: Any, make_stream: MakeStream) -> None:
    port = free_ports(1)
    stream = make_stream(f"ws://127.0.0.1:{port}/", settings=SOON, enable_reconnect=True)
    stream.connection.start()
    for _ in range(10):
        await turn()
    async with run_app(port=port) as app:
        await stream.open()
        await past_opening(await app.connection())
        assert stream.connection.stream.report().reconnects == 0
        await finish(stream)


async def test_an_app_that_never_comes_up_is_given_up(make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"connect_timeout": 0.3})
    stream = make_stream(f"ws://127.0.0.1:{free_ports(1)}/", settings=settings, enable_reconnect=True)
    stream.connection.start()
    assert "connection refused by" in (await stream.end()).error
    assert len(stream.facts) == 1


async def test_a_first_upgrade_that_is_refused_is_not_repeated(run_app: Any, make_stream: MakeStream) -> None:
    asked = []

    def refuse(connection: ServerConnection, request: Request) -> Response:
        asked.append(request)
        return connection.respond(HTTPStatus.FORBIDDEN, "no")

    async with run_app(process_request=refuse) as app:
        stream = make_stream(app.url, settings=SOON, enable_reconnect=True)
        stream.connection.start()
        assert "HTTP 403" in (await stream.end()).error
    assert len(asked) == 1


async def test_an_unreachable_address_does_not_use_up_the_timeout(
    run_app: Any, make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 two.example\n127.0.0.1 two.example\n")
    monkeypatch.setattr(names_module, "HOSTS", hosts)
    async with run_app() as app:
        port = port_of(app)
        # A listener whose backlog is full answers no further connection.
        with contextlib.ExitStack() as stack:
            nowhere = stack.enter_context(socket.socket())
            nowhere.bind(("127.0.0.2", port))
            nowhere.listen(0)
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", port))
            stream = make_stream(f"ws://two.example:{port}/")
            await stream.open()
            await past_opening(await app.connection())
            await finish(stream)


# ── the tries ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_upgrade_refused_with_503_is_tried_again_after_a_loss(run_app: Any, make_stream: MakeStream) -> None:
    answers = iter([None, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, None])

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        status = next(answers)
        return None if status is None else connection.respond(status, "starting")

    async with run_app(process_request=answer) as app:
        stream = make_stream(app.url, settings=SOON, enable_reconnect=True)
        await stream.open()
        await lose(stream, app)
        await past_opening(await app.connection())
        assert next(answers, "none left") == "none left"
        await finish(stream)


async def test_a_stream_that_cannot_reconnect_ends_with_the_last_cause(run_app: Any, make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"reconnect_window": 0.3})
    async with run_app() as app:
        stream = make_stream(app.url, settings=settings, enable_reconnect=True)
        await stream.open()
        await lose(stream, app)
    error = (await stream.end()).error
    assert error.startswith("no new connection within 0.3 s after a loss; the last cause: connection refused by")
    assert [type(fact) for fact in stream.facts] == [StreamOpened, StreamClosed]


GOING_AWAY = b"\x88\x0b\x03\xe9new build"


async def test_an_app_that_goes_away_permanently_ends_the_stream_as_stopped(
    raw_peer: Any, make_stream: MakeStream
) -> None:
    settings = SOON.model_copy(update={"reconnect_window": 2})
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=settings, enable_reconnect=True)
    stream.connection.start()
    _, writer = await raw_peer.upgrade()
    await stream.open()
    writer.write(GOING_AWAY)
    for status in (b"502 Bad Gateway", b"404 Not Found"):
        _, writer, _ = await raw_peer.accept()
        writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
    words = "the app closed the socket with 1001, and none came in its place within 2 s"
    assert await stream.end() == StreamClosed(None, words)
    assert [type(fact) for fact in stream.facts] == [StreamOpened, StreamClosed]


async def test_an_app_that_goes_away_comes_back_and_disconnects_is_an_error(
    raw_peer: Any, make_stream: MakeStream
) -> None:
    settings = SOON.model_copy(update={"reconnect_window": 2})
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=settings, enable_reconnect=True)
    stream.connection.start()
    _, writer = await raw_peer.upgrade()
    await stream.open()
    writer.write(GOING_AWAY)
    _, writer = await raw_peer.upgrade()
    writer.write(b"\x88\x02\x03\xf3")
    for _ in range(2):
        _, writer, _ = await raw_peer.accept()
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    assert (await stream.end()).error.startswith("no new connection within 2 s after a loss; the last cause: ")


async def test_an_app_that_breaks_every_socket_is_given_up(raw_peer: Any, make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"reconnect_window": 0.5, "reconnect_delay_max": 0.2})
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=settings, enable_reconnect=True)
    stream.connection.start()

    async def break_all() -> None:
        while True:
            _, writer = await raw_peer.upgrade()
            writer.write(b"\x88\x02\x03\xf3")

    breaking = asyncio.create_task(break_all())
    assert (await stream.end()).error.endswith("the last cause: the app closed the socket with 1011")
    breaking.cancel()
    assert stream.connection.stream.report().reconnects > 1
    assert [type(fact) for fact in stream.facts] == [StreamOpened, StreamClosed]


# ── the end at any time ─────────────────────────────────────────────────────────────────────────────────────


async def test_close_while_waiting_ends_at_once(run_app: Any, make_stream: MakeStream) -> None:
    patient = StreamSettings(reconnect_delay=20, reconnect_delay_max=20)
    async with run_app() as app:
        stream = make_stream(app.url, settings=patient, enable_reconnect=True)
        await stream.open()
        await lose(stream, app)
        await until(lambda: stream.connection.stream.waiting)
        await finish(stream, "the call ended")
        stream.connection.stream.inbound_frame(b"x", 0, 0)
        assert stream.connection.stream.next_frame(0) is None


async def test_close_while_dialling_again_ends_at_once(raw_peer: Any, make_stream: MakeStream) -> None:
    stream = make_stream(f"ws://127.0.0.1:{raw_peer.port}/", settings=SOON, enable_reconnect=True)
    stream.connection.start()
    _, writer = await raw_peer.upgrade()
    await stream.open()
    writer.close()
    reader, _, _ = await raw_peer.accept()
    await finish(stream, "the call ended")
    async with asyncio.timeout(30):
        assert await reader.read() == b""


async def test_close_amid_the_replay_sends_stop_behind_it(run_app: Any, make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"replay": 60})
    async with run_app() as app:
        stream = make_stream(app.url, settings=settings, enable_reconnect=True)
        leg = Leg(stream)
        await stream.open()
        await lose(stream, app)
    await until(lambda: stream.connection.stream.waiting)
    leg.speak(3000)
    async with run_app(port=port_of(app)) as app:
        peer = await app.connection()
        peer.transport.pause_reading()
        await until(lambda: stream.connection.stream.report().reconnects == 1)
        stream.connection.close("the call ended")
        peer.transport.resume_reading()
        await past_opening(peer)
        assert payloads(await media(peer, 3000)) == leg.sent
        assert (await receive(peer))["event"] == "stop"
        assert await stream.end() == StreamClosed(None, "the call ended")


async def test_a_loss_amid_the_replay_repeats_it(run_app: Any, make_stream: MakeStream) -> None:
    settings = SOON.model_copy(update={"replay": 60})
    async with run_app() as app:
        stream = make_stream(app.url, settings=settings, enable_reconnect=True)
        leg = Leg(stream)
        await stream.open()
        await lose(stream, app)
    await until(lambda: stream.connection.stream.waiting)
    leg.speak(3000)
    async with run_app(port=port_of(app)) as app:
        peer = await app.connection()
        peer.transport.pause_reading()
        await until(lambda: stream.connection.stream.report().reconnects == 1)
        leg.speak(50)
        peer.transport.abort()
        peer = await app.connection()
        await past_opening(peer)
        assert payloads(await media(peer, 3000)) == leg.sent[50:]
        await finish(stream)
    # Fifty were beyond the limit; the first socket may have sent some of them.
    assert stream.connection.stream.report().frames_lost <= 50


async def test_a_slow_reader_gets_the_replay_and_what_comes_behind_it(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON.model_copy(update={"replay": 60}), enable_reconnect=True)
    leg = Leg(stream)
    await stream.open()
    await lose(stream, app)
    await until(lambda: stream.connection.stream.waiting)
    leg.speak(3000)
    peer = await app.connection()
    peer.transport.pause_reading()
    await until(lambda: stream.connection.stream.report().reconnects == 1)
    leg.speak(100)
    for _ in range(10):
        await turn()
    peer.transport.resume_reading()
    await past_opening(peer)
    assert payloads(await media(peer, 3100)) == leg.sent
    report = stream.connection.stream.report()
    assert (report.frames_lost, report.frames_dropped) == (0, 0)
    await finish(stream)


async def test_reconnecting_declined_the_first_loss_is_the_end(app: Any, make_stream: MakeStream) -> None:
    stream = make_stream(app.url, settings=SOON, enable_reconnect=False)
    await stream.open()
    await lose(stream, app)
    assert (await stream.end()).error == "the connection was lost"
