"""A media worker, or an app, that stands still for a moment leaves no delay behind: measured on the wire, under apps
that return what they hear, by pulses that say their own number. Time is measured by RTP timestamps, which a busy
machine cannot change.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

import pytest
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, Socket, happens, held
from trunkline.demo.caller import DemoCaller, Heard
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer

STALLS = (0.06, 0.1, 0.2, 0.4)
"""Seconds."""
CALM = 100
"""Frames (2 s) before a stall in which the delay is measured."""
RECOVERY = 200
"""Frames (4 s) after it."""
PERIOD = 20
"""Frames from pulse to pulse."""
PULSE = 2
SILENCE = b"\xff" * 160
FRAMES = 4000
"""More than are needed, however long it takes until the calls are up; their numbers have 12 bits."""


def pulse(number: int) -> bytes:
    """A loud frame that says its number, as bytes below 0x40 do in PCMU."""
    return bytes((number & 0x3F, number >> 6 & 0x3F)) * 80


def frames() -> list[bytes]:
    return [pulse(number) if number % PERIOD < PULSE else SILENCE for number in range(FRAMES)]


class Echo(RecordingApp):
    """Returns what it hears, so many frames in a message, unless it stands still. A mark behind each pulse."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self._together = together
        self._kept: list[bytes] = []
        self._marked = 0
        self.goes = asyncio.Event()
        self.goes.set()

    async def _received(self, socket: Socket, message: dict[str, Any]) -> None:
        await self.goes.wait()
        await super()._received(socket, message)
        if message["event"] != "media":
            return
        self._kept.append(base64.b64decode(message["media"]["payload"]))
        if len(self._kept) == self._together:
            audio, self._kept = b"".join(self._kept), []
            await socket.play(audio)
            if audio.strip(b"\xff"):
                await socket.send({"event": "mark", "mark": {"name": self._marked}})
                self._marked += 1


def delays(heard: list[Heard]) -> dict[int, float]:
    """By the number of its frame: when a pulse began to be heard, in ms of the server's clock less the caller's."""
    found: dict[int, float] = {}
    for packet in heard:
        loud = next((at for at, byte in enumerate(packet.payload) if byte < 0x40), None)
        if loud is None or loud + 1 == len(packet.payload) or packet.payload[loud + 1] >= 0x40:
            continue
        number = packet.payload[loud] | packet.payload[loud + 1] << 6
        if number % PERIOD == 0:
            since = (packet.timestamp - heard[0].timestamp) & 0xFFFFFFFF
            found.setdefault(number, (since + loud) / 8 - number * 20)
    return found


@asynccontextmanager
async def echoed(
    server: ServerProcess, client: AsyncTelnyx, *together: int
) -> AsyncIterator[list[tuple[DemoCaller, Echo]]]:
    """Calls whose apps return so many frames in a message."""
    async with AsyncExitStack() as stack:
        calls = []
        for count in together:
            app = await stack.enter_async_context(Echo(count))
            caller = await stack.enter_async_context(DemoCaller(server.sip_address, frames()))
            await caller.call()
            await client.texml.accounts.calls.streams_json(
                caller.call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
            )
            calls.append((caller, app))
        yield calls


async def measure(
    calls: list[tuple[DemoCaller, Echo]], stall: Callable[[float], Any], *stalls: float
) -> list[list[tuple[float, float]]]:
    """By call and stall, one after another: the delay before it, and 4 s after it."""
    found: list[list[tuple[float, float]]] = [[] for _ in calls]

    async def pass_by(count: int) -> None:
        caller = calls[0][0]
        goal = len(caller.sent_at) + count
        await happens(caller.watch, f"{count} frames pass", lambda: len(caller.sent_at) >= goal)

    await pass_by(CALM)
    for seconds in stalls:
        await pass_by(CALM)
        begun = [len(caller.sent_at) for caller, _ in calls]
        await stall(seconds)
        await pass_by(RECOVERY + round(seconds * 50))
        recovered = [len(caller.sent_at) for caller, _ in calls]
        await pass_by(3 * PERIOD + 30)  # which are heard by then
        for (caller, _), start, end, row in zip(calls, begun, recovered, found, strict=True):
            late = delays(caller.heard)
            before = [delay for number, delay in late.items() if start - CALM <= number < start - PERIOD]
            after = [delay for number, delay in late.items() if end - PERIOD <= number]
            row.append((median(before), median(after)))
    return found


async def marks_came_back(calls: list[tuple[DemoCaller, Echo]]) -> None:
    """Every one, once and in order."""
    for caller, app in calls:
        caller.stop_speaking()
        socket = await app.socket()
        sent = app._marked
        await happens(app.watch, "all marks come back", lambda s=socket, n=sent: len(s.all("mark")) >= n)
        assert [mark["mark"]["name"] for mark in socket.all("mark")] == list(range(sent))


def none_is_later(found: list[list[tuple[float, float]]]) -> bool:
    """By more than a packet. Where the machine itself had made the app late before, it may be less."""
    return all(after - before <= 20 for row in found for before, after in row)


@pytest.fixture
def server(own_server: ServerProcess) -> ServerProcess:
    """A server of its own, whose worker is stopped."""
    return own_server


async def test_a_worker_that_stands_still_leaves_no_delay_and_loses_no_mark(
    server: ServerProcess, client: AsyncTelnyx
) -> None:
    async def stop(seconds: float) -> None:
        async with held(server):
            await asyncio.sleep(seconds)

    async with echoed(server, client, 1, 10) as calls:
        found = await measure(calls, stop, *STALLS)
        await marks_came_back(calls)
    assert none_is_later(found)


async def test_an_app_that_stands_still_leaves_no_delay_and_loses_no_mark(
    server: ServerProcess, client: AsyncTelnyx
) -> None:
    async def at_once(seconds: float) -> list[list[tuple[float, float]]]:
        async with echoed(server, client, 1, 10) as calls:

            async def stop(seconds: float) -> None:
                for _, app in calls:
                    app.goes.clear()
                await asyncio.sleep(seconds)
                for _, app in calls:
                    app.goes.set()

            found = await measure(calls, stop, seconds)
            await marks_came_back(calls)
        return found

    for found in await asyncio.gather(*map(at_once, STALLS)):
        assert none_is_later(found)
