"""What one message costs: a packet to JSON on a socket, and an app's JSON to the leg. Prints microseconds of CPU.

python bench/frames.py [rounds]
"""

import asyncio
import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable

import uvloop
from picows import WSListener, WSUpgradeRequest, ws_create_server

from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.message_handler import MessageHandler
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams
from trunkline.streaming.playback import Playback
from trunkline.streaming.session import Session
from trunkline.streaming.socket import Sender
from trunkline.streaming.stream import StreamClosed, StreamOpened
from trunkline.workers.worker.decoder_client import DecoderClient

IDENTITY = StreamIdentity(
    StreamSid("32de0dea-53cb-4b21-89a4-9e1819c043bc"),
    AccountSid("3f2b7e52-0f6d-4a0e-9d5b-6f1f8a3f1c11"),
    CallSid("v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg"),
    CallSessionId("428c31b6-7af4-4bcb-b7f5-5013ef9657c1"),
    "+13129457420",
    "+13129457421",
)
PACKET = bytes(range(160))
SETTINGS = StreamSettings(close_timeout=0.1)
PARAMS = StreamParams(WebSocketUrl.parse("ws://app"), mode=BidirectionalMode.RTP)


def measure(what: str, rounds: int, work: Callable[[int], object]) -> None:
    """The best of three runs."""
    times = []
    for _ in range(3):
        started = time.process_time()
        for number in range(rounds):
            work(number)
        times.append(time.process_time() - started)
    print(f"{what:<56}{min(times) / rounds * 1e6:8.2f} µs")  # noqa: T201 - a benchmark prints


def forward(leg: str, rounds: int) -> None:
    """A packet of the leg's to the text of a media message."""
    session = Session(PARAMS, IDENTITY, "PCMU", SETTINGS)
    session.leg_changed(leg)
    measure(f"packet to message, {leg} leg and PCMU fork", rounds, lambda n: session.inbound(PACKET, n * 20, 0))


def back(leg: str, milliseconds: int, rounds: int) -> None:
    """A media message to packets of the leg's."""
    playback = Playback("PCMU", prebuffer=0, limit=600, mark_limit=1)
    playback.leg_changed(leg, 20)
    session = Session(PARAMS, IDENTITY, "PCMU", SETTINGS)
    handler = MessageHandler(PARAMS, SETTINGS, session, playback, lambda digits: None)
    payload = b64encode(bytes(milliseconds * 8)).decode()
    text = json.dumps({"event": "media", "media": {"payload": payload}}).encode()

    def work(number: int) -> None:
        handler.text(text, 0)
        for packet in range(milliseconds // 20):
            playback.next_frame(number * milliseconds + packet * 20)

    measure(f"message of {milliseconds} ms to packets, {leg} leg", rounds, work)


async def socket(rounds: int) -> None:
    """A packet all the way into a loopback socket; the reader is in the same process and only drains."""

    def listener(_: WSUpgradeRequest) -> WSListener:
        return WSListener()

    server = await ws_create_server(listener, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    started = asyncio.Event()

    def on_fact(fact: StreamOpened | StreamClosed) -> None:
        started.set()

    params = StreamParams(WebSocketUrl.parse(f"ws://127.0.0.1:{port}/"))
    sender = Sender()
    connection = StreamConnection(
        params, IDENTITY, "PCMU", SETTINGS, on_fact, DecoderClient(), lambda digits: None, sender
    )
    connection.start()
    await started.wait()
    spent = 0.0
    for batch in range(rounds // 20):
        began = time.process_time()
        for number in range(20):
            connection.stream.inbound_frame(PACKET, (batch * 20 + number) * 20, 0)
        sender.flush()
        spent += time.process_time() - began
        await asyncio.sleep(0.001)  # the reader's turn, not counted
    print(f"{'packet into a loopback socket':<56}{spent / (rounds // 20 * 20) * 1e6:8.2f} µs")  # noqa: T201 - as above
    connection.close("done")
    await connection.wait_closed()
    server.close()


def main() -> None:
    """Everything, the socket with fewer rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    for leg in ("PCMU", "PCMA"):
        forward(leg, rounds)
    forward("G722", rounds // 10)
    for milliseconds in (20, 40, 200):
        back("PCMU", milliseconds, rounds * 20 // milliseconds)
    back("PCMA", 20, rounds)
    uvloop.run(socket(rounds // 10))


if __name__ == "__main__":
    main()
