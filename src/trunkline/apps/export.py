"""A capture as sound: left what the bot heard, right what was played of its audio, on one time axis. Pure.

What was played is not in a capture: it is found out by playing the bot's messages again, at their times, by the rules
of the server.
"""

from datetime import UTC, datetime

import numpy as np

from trunkline.apps.captured import Capture
from trunkline.apps.stream import BotStream, InlineDecoder
from trunkline.apps.trace import FRAME_MS
from trunkline.apps.wire import member, payload_of
from trunkline.config import StreamSettings
from trunkline.media.codecs import CODECS, UndecodablePacket
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Refusal
from trunkline.streaming.params import BidirectionalMode
from trunkline.streaming.session import MessageSink, SendBuffer
from trunkline.streaming.stream import Stream

TAIL_MS = 60_000
"""Audio of the bot that is played after the last message, at most."""
REPLAY_MS = 50
"""Media that a second socket gets within this time are a repetition."""


def stereo(capture: Capture) -> tuple[bytes, int]:
    """Interleaved 16-bit little-endian PCM, and its rate."""
    rate = CODECS[capture.codec].sample_rate
    left, right = heard(capture), played(capture)
    longest = max(len(left), len(right)) // 2
    both = np.zeros((longest, 2), "<i2")
    for side, pcm in enumerate((left, right)):
        both[: len(pcm) // 2, side] = np.frombuffer(pcm, "<i2")
    return both.tobytes(), rate


def heard(capture: Capture) -> bytes:
    """What the bot heard of the inbound track, as PCM from the beginning of the capture on."""
    codec = CODECS[capture.codec]
    decode = codec.decoder()
    track = bytearray()
    began, sockets = 0.0, 0
    for one in capture.messages:
        event = one.message.get("event")
        if one.to_app and event == "start":
            began, sockets = one.ms, sockets + 1
        if not (one.to_app and event == "media" and member(one.message, "media", "track") == "inbound"):
            continue
        if sockets > 1 and one.ms - began < REPLAY_MS:
            continue
        stamp = float(member(one.message, "media", "timestamp") or 0)
        at = began + stamp if sockets <= 1 else one.ms
        try:
            pcm = decode(payload_of(one.message))
        except UndecodablePacket:
            continue
        place = round(at * codec.sample_rate / 1000) * 2
        if place - len(track) > FRAME_MS * codec.sample_rate // 500:
            track += bytes(place - len(track))
        track += pcm
    return bytes(track)


class _CaptureClock:
    """The time of the capture."""

    def __init__(self) -> None:
        self.ms = 0.0

    def now(self) -> float:
        return self.ms / 1000

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)


class _Nowhere(MessageSink):
    """What the stream says meanwhile is in the capture already."""

    def media(self, message: bytes, at: int) -> None:
        pass

    def control(self, message: bytes) -> None:
        pass


def played(capture: Capture) -> bytes:
    """What was played of the bot's audio, as PCM from the beginning of the capture on, silence where nothing was."""
    codec, clock = CODECS[capture.codec], _CaptureClock()
    answers: list[tuple[Answer, bytes | Refusal]] = []
    decoder = InlineDecoder(lambda answer, result: answers.append((answer, result)))
    settings = StreamSettings(l16_endian=capture.endian, prebuffer=int(capture.head.get("prebuffer", 60)))
    asked = BotStream("ws://capture/", BidirectionalMode(capture.mode), capture.codec, capture.bot_codec)
    stream = Stream(asked.params(), asked.identity(), capture.codec, settings, decoder, lambda _: None, clock)
    stream.leg_changed(capture.codec, FRAME_MS)
    stream.begin(0)
    stream.opened(_Nowhere(SendBuffer(0, 1)), 0)
    decode, silence = codec.decoder(), codec.silence(FRAME_MS)
    waiting = [one for one in capture.messages if not one.to_app and not one.binary]
    last = capture.messages[-1].ms
    track, at, quiet = bytearray(), 0, 0
    number = 0
    while number < len(waiting) or (at <= last + TAIL_MS and quiet < 10):
        while number < len(waiting) and waiting[number].ms <= at:
            clock.ms = waiting[number].ms
            stream.text(waiting[number].data, clock.now())
            for answer, result in answers:
                answer(result)
            answers.clear()
            number += 1
        frame = stream.next_frame(at)
        quiet = 0 if frame is not None or at < last else quiet + 1
        track += decode(frame or silence)
        at += FRAME_MS
    stream.release()
    return bytes(track[: len(track) - quiet * codec.sample_rate * FRAME_MS // 500] if quiet else track)
