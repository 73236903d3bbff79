"""Media that is written straight to the app's socket, past the transport: to no other socket, and behind what waits."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

ULAW = bytes(range(160))
ROUNDS, FRAMES = 5, 390
"""150 kB in each round: more than the kernel takes while the app does not read, and less than may wait."""
LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])


def run(scenario: Any, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario)


@LOOPS
def test_a_reused_file_descriptor_gets_no_media_of_the_lost_socket(
    run_app: Any, make_stream: Callable[..., Any], loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with run_app() as app:
            stream = make_stream(app.url)
            await stream.open()
            (await app.connection()).transport.abort()
            with contextlib.ExitStack() as opened:
                others: list[socket.socket] = []
                at = 0
                while not stream.ended.is_set():
                    # The next socket takes the descriptor in whichever turn it is freed, while a frame is being sent.
                    for one in socket.socketpair():
                        one.setblocking(False)
                        others.append(opened.enter_context(one))
                    stream.connection.stream.inbound_frame(ULAW, at, 0)
                    at += 20
                    await asyncio.sleep(0)
                for other in others:
                    with pytest.raises(BlockingIOError):
                        other.recv(1)
            await stream.end()

    run(scenario(), loop_factory)


@LOOPS
def test_control_messages_keep_their_order_while_the_app_reads_irregularly(
    run_app: Any, make_stream: Callable[..., Any], loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with run_app() as app:
            stream = make_stream(app.url)
            await stream.open()
            peer = await app.connection()
            numbers: list[int] = []
            handed = keys = 0
            for _ in range(ROUNDS):
                peer.transport.pause_reading()
                for frame in range(FRAMES):
                    stream.connection.stream.inbound_frame(ULAW, handed, 0)
                    handed += 1
                    if frame % 7 == 0:
                        stream.connection.stream.digit("1")
                        keys += 1
                    if frame % 40 == 0:
                        await asyncio.sleep(0)
                report = stream.connection.stream.report()
                assert report.frames_sent < handed, "some wait"
                assert report.frames_dropped == 0
                peer.transport.resume_reading()
                async with asyncio.timeout(30):
                    while len(numbers) < handed + keys:
                        message = json.loads(await peer.recv())
                        if message["event"] in ("media", "dtmf"):
                            numbers.append(int(message["sequence_number"]))
            assert numbers == list(range(2, len(numbers) + 2)), "behind start, which is 1"
            stream.connection.close("done")
            await stream.end()

    run(scenario(), loop_factory)
