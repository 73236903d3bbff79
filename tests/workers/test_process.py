"""The media worker process, driven over its socket pair."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from websockets.asyncio.server import serve

from stream_params import stream_params
from streaming.helpers import receive
from trunkline.config import LogSettings, MediaSettings, StreamSettings
from trunkline.demo.server import free_ports
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, StreamSid
from trunkline.outbound.egress import EgressRules
from trunkline.sdp.values import Endpoint, MediaParams
from trunkline.streaming.params import StreamIdentity
from trunkline.workers import messages, orders, reports
from workers.child import Child, child

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

T = TypeVar("T")
BASE = free_ports(8)
IDENTITY = StreamIdentity(StreamSid("s1"), AccountSid("a"), CallSid("v3:x"), CallSessionId("c"), "+1", "+2")


def configure() -> messages.Configure:
    media, streams, log = (
        made.model_dump_json() for made in (MediaSettings(port_rest=0), StreamSettings(), LogSettings(level="warning"))
    )
    return messages.Configure(media, streams, log, EgressRules(), BASE, BASE + 7)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Child[Any]]:
    """A worker that is ready."""
    async with child("trunkline.workers.process", messages.ToControl) as started:
        started.link.send(configure())
        await started.report(messages.Ready)
        yield started


class Phone:
    """A UDP socket."""

    def __init__(self) -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", self.socket.getsockname()[1]), rtcp_mux=True)

    def speak(self, number: int, port: int) -> None:
        header = bytes((0x80, 0)) + number.to_bytes(2) + (160 * number).to_bytes(4) + b"\0\0\0\7"
        self.socket.sendto(header + bytes(range(160)), ("127.0.0.1", port))


async def reported(worker: Child[Any], leg: int, kind: type[T]) -> T:
    """The next report of a kind from a leg."""
    found = await worker.report(messages.FromLeg, lambda one: one.leg == leg and isinstance(one.report, kind))
    assert isinstance(found.report, kind)
    return found.report


async def opened(worker: Child[Any], leg: int, phone: Phone) -> int:
    """The leg's port."""
    worker.link.send(messages.ToLeg(LegId(leg), orders.OpenLeg(CallSid(f"v3:{leg}"), phone.params)))
    return (await reported(worker, leg, reports.LegOpened)).local.port


async def closed(worker: Child[Any], leg: int) -> reports.LegClosed:
    worker.link.send(messages.ToLeg(LegId(leg), orders.CloseLeg("over")))
    return await reported(worker, leg, reports.LegClosed)


async def test_a_leg_has_a_port_of_the_worker_and_reports_its_counters_at_its_end(worker: Child[Any]) -> None:
    phone = Phone()
    with phone.socket:
        port = await opened(worker, 1, phone)
        assert BASE <= port < BASE + 8
        for number in range(5):
            phone.speak(number, port)
        worker.link.send(messages.GetReport(LegId(1), 7))
        report = await worker.report(messages.Reported)
        assert (report.request, report.streams) == (7, [])
        assert report.leg is not None
        assert (report.leg.packets_in, report.leg.codec, report.leg.local_port) == (5, "PCMU", port)
        status = await worker.report(messages.Status, lambda status: status.legs == 1)
        assert (status.streams, status.load >= 0) == (0, True)
        assert (await closed(worker, 1)).report.packets_in == 5


async def test_the_media_parameters_of_a_leg_may_change(worker: Child[Any]) -> None:
    phone = Phone()
    with phone.socket:
        await opened(worker, 2, phone)
        worker.link.send(messages.ToLeg(LegId(2), orders.UpdateLeg(phone.params, 9)))
        assert await reported(worker, 2, reports.LegUpdated) == reports.LegUpdated(9)
        await closed(worker, 2)


async def test_a_caller_hears_the_leg_once_it_is_confirmed(worker: Child[Any]) -> None:
    phone = Phone()
    with phone.socket:
        opening = orders.OpenLeg(CallSid("v3:3"), phone.params, confirmed=False)
        worker.link.send(messages.ToLeg(LegId(3), opening))
        await reported(worker, 3, reports.LegOpened)
        worker.link.send(messages.GetReport(LegId(3), 7))  # which takes as long as the worker listens
        report = (await worker.report(messages.Reported)).leg
        assert report is not None
        assert report.packets_out == 0
        worker.link.send(messages.ToLeg(LegId(3), orders.ConfirmLeg()))
        worker.link.send(messages.ToLeg(LegId(99), orders.ConfirmLeg()))
        worker.link.send(messages.GetReport(LegId(3), 8))
        report = (await worker.report(messages.Reported)).leg
        assert report is not None
        assert report.packets_out > 0
        await closed(worker, 3)


async def test_a_leg_without_a_free_port_fails_with_a_reason(worker: Child[Any]) -> None:
    phone = Phone()
    with phone.socket:
        for leg in range(10, 14):
            await opened(worker, leg, phone)
        worker.link.send(messages.ToLeg(LegId(14), orders.OpenLeg(CallSid("v3:x"), phone.params)))
        failed = await reported(worker, 14, reports.LegFailed)
        assert "port" in failed.detail
        for leg in range(10, 14):
            await closed(worker, leg)


async def test_a_stream_carries_the_legs_audio_until_it_is_closed(worker: Child[Any]) -> None:
    phone, got = Phone(), asyncio.Queue[dict[str, Any]]()

    async def app(peer: Any) -> None:
        while True:
            got.put_nowait(message := await receive(peer))
            if message["event"] == "stop":
                return

    with phone.socket:
        async with serve(app, "127.0.0.1", 0) as server:
            port = await opened(worker, 3, phone)
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            worker.link.send(messages.ToLeg(LegId(3), orders.OpenStream(IDENTITY, stream_params(url), "PCMU")))
            assert (await reported(worker, 3, reports.StreamStarted)).sid == "s1"
            for number in range(3):
                phone.speak(number, port)
            events = [(await got.get())["event"] for _ in range(5)]
            assert events == ["connected", "start", "media", "media", "media"]
            worker.link.send(messages.GetReport(LegId(3), 8))
            (state,) = (await worker.report(messages.Reported)).streams
            assert (state.sid, state.state, state.report.frames_sent) == ("s1", "open", 3)
            worker.link.send(messages.ToLeg(LegId(3), orders.CloseStream(StreamSid("s1"), "done")))
            ended = await reported(worker, 3, reports.StreamEnded)
            assert (ended.sid, ended.error, ended.reason) == ("s1", None, "done")
            assert ended.report is not None
            assert ended.report.frames_sent == 3
            assert (await got.get())["event"] == "stop"
            await closed(worker, 3)


async def test_a_stream_that_cannot_connect_ends_with_the_reason(worker: Child[Any]) -> None:
    phone = Phone()
    with phone.socket:
        await opened(worker, 4, phone)
        params = stream_params("ws://127.0.0.1:1/", enable_reconnect=False)
        worker.link.send(messages.ToLeg(LegId(4), orders.OpenStream(IDENTITY, params, "PCMU")))
        ended = await reported(worker, 4, reports.StreamEnded)
        assert "connection refused" in str(ended.error)
        await closed(worker, 4)


async def test_a_report_of_a_closed_leg_is_empty(worker: Child[Any]) -> None:
    worker.link.send(messages.GetReport(LegId(99), 1))
    assert await worker.report(messages.Reported) == messages.Reported(1, None, [])


async def test_a_worker_reports_by_how_much_it_is_late(worker: Child[Any]) -> None:
    await worker.report(messages.Status, lambda status: status.lag == 0)
    worker.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.3)
    worker.process.send_signal(signal.SIGCONT)
    status = await worker.report(messages.Status, lambda status: status.lag > 0)
    assert 0.01 < status.lag < 0.3


async def test_a_workers_death_shows_at_once_whatever_its_decoder_does() -> None:
    async with child("trunkline.workers.process", messages.ToControl) as alone:
        alone.link.send(configure())
        await alone.report(messages.Ready)
        decoder = _child_of(alone.process.pid)
        os.kill(decoder, signal.SIGSTOP)
        alone.process.kill()
        await asyncio.wait_for(alone.lost.wait(), 10)
        os.kill(decoder, signal.SIGKILL)


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def test_when_the_control_process_ends_every_app_gets_stop() -> None:
    phone, got = Phone(), asyncio.Queue[str]()

    async def app(peer: Any) -> None:
        async for _ in peer:
            got.put_nowait(_)

    with phone.socket:
        async with (
            serve(app, "127.0.0.1", 0) as server,
            child("trunkline.workers.process", messages.ToControl) as alone,
        ):
            alone.link.send(configure())
            await alone.report(messages.Ready)
            await opened(alone, 1, phone)
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            alone.link.send(messages.ToLeg(LegId(1), orders.OpenStream(IDENTITY, stream_params(url), "PCMU")))
            await reported(alone, 1, reports.StreamStarted)
            assert await alone.ends() == 0
            events = [got.get_nowait() for _ in range(got.qsize())]
            assert '"event":"stop"' in events[-1].replace(" ", "")
