"""What the packet path makes of a made-up call, line by line: run by `test_compiled.py`, compiled and as Python.

    python transcript.py SEED

A leg with one stream, without sockets and clocks: packets come in order, late, twice, not at all, from another source,
malformed, as keys; the app sends audio, marks, clears and rubbish; the leg goes on hold and changes its codec.
"""

import json
import random
import sys
from base64 import b64encode
from datetime import UTC, datetime

from trunkline.config import MediaSettings, StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, PayloadType, RtpTime, Seconds, Ssrc, StreamSid
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.packet import RtpPacket, build
from trunkline.outbound.urls import WebSocketUrl
from trunkline.sdp.values import Direction, Endpoint, MediaParams
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, Track
from trunkline.streaming.retry import Disconnect, DisconnectReason
from trunkline.streaming.session import MessageSink, SendBuffer
from trunkline.streaming.stream import Stream

PACKETS = 2500
PEER = Endpoint("127.0.0.1", 4000)
CODECS = {"PCMU": 0, "PCMA": 8, "G722": 9}


def say(*what: object) -> None:
    """A line of the transcript."""
    sys.stdout.write(" ".join(repr(part) for part in what) + "\n")


class Transcript(MessageSink):
    """What an app is sent that reads seldom."""

    def media(self, message: bytes, at: int) -> None:
        """See `MessageSink`."""
        say("media", message)
        self.outbox.media(message, at)

    def control(self, message: bytes) -> None:
        """See `MessageSink`."""
        say("control", message)


class HandClock:
    """A `Clock` that `Call` advances."""

    time = 0.0

    def now(self) -> float:
        """See `Clock`."""
        return self.time

    def utc(self) -> datetime:
        """See `Clock`."""
        return datetime(2026, 1, 1, tzinfo=UTC)


class NoDecoder:
    """A `FileDecoder` that is not asked: the stream is in rtp mode."""

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        """See `FileDecoder`."""
        raise AssertionError

    def cancel(self, job: int) -> None:
        """See `FileDecoder`."""
        raise AssertionError


def make_stream(clock: HandClock) -> Stream:
    """A stream of both tracks."""
    params = StreamParams(WebSocketUrl.parse("ws://app/"), track=Track.BOTH, mode=BidirectionalMode.RTP)
    identity = StreamIdentity(StreamSid("s"), AccountSid("a"), CallSid("c"), CallSessionId("s"), "+1", "+2")
    settings = StreamSettings(replay=1, prebuffer=60, playback_limit=2, mark_limit=20, extensions=True)
    return Stream(params, identity, "PCMU", settings, NoDecoder(), lambda digits: None, clock)


class Call:
    """The leg and its peer."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 100.0
        self.params = MediaParams("PCMU", 0, 20, PEER, dtmf_payload_type=101)
        self.leg = Leg(
            LegId(1),
            self.params,
            MediaSettings(reorder_window=60),
            random=self.chance.randbytes(RANDOM_BYTES),
            now=Seconds(self.now),
            wall=0.0,
            waiting=set(),
            local_port=5000,
            first_at=0,
        )
        self.clock = HandClock()
        self.stream = make_stream(self.clock)
        self.stream.begin(self.now)
        self.connect()
        self.leg.attach(self.stream)
        self.speaks = 0
        self.sequence, self.ssrc, self.held = self.chance.randrange(65536), 7, list[bytes]()

    def connect(self) -> None:
        """The app has a new socket."""
        self.stream.socket_released()
        self.sink = Transcript(SendBuffer(0.5, 5))
        say("first" if self.stream.opened(self.sink, self.now) else "again")

    def packet(self, kind: int, payload: bytes) -> bytes:
        """The peer's next."""
        self.sequence += 1
        stamp = RtpTime(self.sequence * 160 & 0xFFFFFFFF)
        return build(RtpPacket(PayloadType(kind), False, self.sequence & 0xFFFF, stamp, Ssrc(self.ssrc), payload))

    def peer(self) -> None:
        """One packet time of the peer's."""
        chance, whim = self.chance, self.chance.random()
        if whim < 0.01:
            self.ssrc, self.sequence = self.ssrc + 1, chance.randrange(65536)
        if chance.random() < 0.02:
            self.speaks = chance.choice(list(CODECS.values()))
        kind = 101 if whim > 0.97 else 13 if whim > 0.96 else 77 if whim > 0.955 else self.speaks
        payload = bytes((chance.randrange(16), 0x80, 1, 64)) if kind == 101 else chance.randbytes(160)
        datagram = self.packet(kind, payload)
        if whim < 0.05:
            return
        if whim < 0.1:
            self.held.append(datagram)
            return
        if whim < 0.12:
            datagram = chance.randbytes(chance.randrange(40))
        for one in [datagram] * (2 if whim < 0.15 else 1) + (self.held if chance.random() < 0.5 else []):
            self.leg.receive(one, Seconds(self.now + chance.random() * 0.01))
        if chance.random() < 0.5:
            self.held.clear()

    def app(self) -> None:
        """What the app sends meanwhile."""
        chance, whim = self.chance, self.chance.random()
        message: dict[str, object] = {"event": "media", "media": {"payload": b64encode(chance.randbytes(160)).decode()}}
        if whim < 0.1:
            size = chance.choice((1, 50, 700, 4000))
            message = {"event": "media", "media": {"payload": b64encode(chance.randbytes(size)).decode()}}
        elif whim < 0.15:
            message = {"event": "mark", "mark": {"name": f"mark {whim}"}}
        elif whim < 0.16:
            message = {"event": "clear"}
        elif whim < 0.18:
            message = {"event": "media", "media": {"payload": "no base64"}}
        elif whim < 0.35:
            return
        self.stream.text(json.dumps(message).encode(), self.now)

    def signalling(self) -> None:
        """Seldom, a re-INVITE, or a lost socket."""
        whim = self.chance.random()
        if whim < 0.01:
            codec = self.chance.choice(list(CODECS))
            direction = Direction.SENDONLY if whim < 0.003 else Direction.SENDRECV
            agreed = tuple((number, name) for name, number in CODECS.items() if self.chance.random() < 0.7)
            self.params = MediaParams(
                codec, CODECS[codec], 20, PEER, direction=direction, dtmf_payload_type=101, heard=agreed
            )
            self.speaks = CODECS[codec]
            self.leg.update(self.params, Seconds(self.now))
        elif whim < 0.02:
            self.leg.inbound.handle_waiting(Seconds(self.now))
        elif self.stream.waiting:
            if whim < 0.2:
                self.connect()
        elif whim < 0.025:
            say("lost", self.stream.disconnected(Disconnect(DisconnectReason.LOST, "lost"), self.now))

    def run(self) -> None:
        """All of it."""
        for _ in range(PACKETS):
            self.now += 0.02
            self.clock.time = self.now
            self.peer()
            self.app()
            self.signalling()
            say("packet", self.leg.next_packet())
            if self.chance.random() < 0.1:
                while (waiting := self.sink.outbox.pop()) is not None:
                    say("late", waiting)
        say(self.leg.report(Seconds(self.now)))
        say(self.stream.report(), self.stream.outcome)


if __name__ == "__main__":
    Call(int(sys.argv[1])).run()
