"""What the packet path makes of a made-up call, line by line: run by `test_compiled.py`, compiled and as Python.

    python transcript.py SEED

A leg with one stream, without sockets and clocks: packets come in order, late, twice, not at all, from another source,
malformed, as keys; the app sends audio, marks, clears and rubbish; the leg goes on hold and changes its codec.
"""

import json
import random
import sys
from base64 import b64encode

from trunkline.config import MediaSettings, StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, PayloadType, RtpTime, Seconds, Ssrc, StreamSid
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.packet import RtpPacket, build
from trunkline.sdp.values import Direction, Endpoint, MediaParams
from trunkline.streaming.message_handler import MessageHandler
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, Track
from trunkline.streaming.playback import Playback
from trunkline.streaming.session import SendBuffer, Session

PACKETS = 2000
PEER = Endpoint("127.0.0.1", 4000)
CODECS = {"PCMU": 0, "PCMA": 8, "G722": 9}


def say(*what: object) -> None:
    """A line of the transcript."""
    sys.stdout.write(" ".join(repr(part) for part in what) + "\n")


class Stream:
    """A port that does with the pure rooms what `StreamConnection` does, the socket being a transcript."""

    inbound = outbound = plays = True

    def __init__(self, settings: StreamSettings) -> None:
        params = StreamParams("ws://app/", track=Track.BOTH, mode=BidirectionalMode.RTP)
        identity = StreamIdentity(StreamSid("s"), AccountSid("a"), CallSid("c"), CallSessionId("s"), "+1", "+2")
        self.session = Session(params, identity, "PCMU", settings)
        self.playback = Playback("PCMU", prebuffer=60, limit=2, mark_limit=20)
        self.handler = MessageHandler(params, settings, self.session, self.playback, lambda digits: None)
        self.outbox = SendBuffer(0.5, 5)
        for message in self.session.start_messages(0.0):
            say(message)
        self.session.anchor(0, 0.0)

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        self._tell(self.session.inbound(payload, at, missing), at)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        self._tell(self.session.outbound(payload, at), at)

    def _tell(self, message: bytes, at: int) -> None:
        say("media", message)
        self.outbox.media(message, at)

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        say("digit", digit)

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        frame = self.playback.next_frame(at)
        say("frame", frame, self.handler.due_marks(), self.handler.backlog(at), self.playback.rests())
        return frame

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self.session.leg_changed(codec)
        self.playback.leg_changed(codec, ptime)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        say("peer", codec)
        self.session.peer_changed(codec)


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
        self.stream = Stream(StreamSettings(replay=1))
        self.leg.attach(self.stream)
        self.speaks = 0
        self.sequence, self.ssrc, self.held = self.chance.randrange(65536), 7, list[bytes]()

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
        say("answers", self.stream.handler.text(json.dumps(message).encode(), self.now))

    def signalling(self) -> None:
        """Seldom, a re-INVITE."""
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
        elif whim < 0.025:
            say("again", self.stream.session.start_messages(self.now), self.stream.session.replay_messages())

    def run(self) -> None:
        """All of it."""
        for _ in range(PACKETS):
            self.now += 0.02
            self.peer()
            self.app()
            self.signalling()
            say("packet", self.leg.next_packet())
            if self.chance.random() < 0.1:
                while (waiting := self.stream.outbox.pop()) is not None:
                    say("late", waiting)
        session, playback, outbox = self.stream.session, self.stream.playback, self.stream.outbox
        say(self.leg.report(Seconds(self.now)))
        say(session.frames, session.missing, session.marks, sorted(session.errors.items()), session.replay.dropped)
        say(playback.played_ms, playback.cleared_ms, playback.queued_ms, playback.underruns, playback.overruns)
        say(playback.meter.loudest, playback.meter.samples, outbox.dropped_frames, self.stream.handler.bytes)


if __name__ == "__main__":
    Call(int(sys.argv[1])).run()
