"""A stream without sockets: its clock and its sink are the test's."""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from stream_params import stream_params
from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, TargetLegs, Track
from trunkline.streaming.retry import Disconnect, DisconnectReason
from trunkline.streaming.session import MessageSink, SendBuffer
from trunkline.streaming.stream import Stream, StreamClosed

ULAW = bytes(range(160))
LOST = Disconnect(DisconnectReason.LOST, "the connection was lost")
REFUSED = Disconnect(DisconnectReason.UNREACHABLE, "connection refused")
IDENTITY = StreamIdentity(StreamSid("s"), AccountSid("a"), CallSid("c"), CallSessionId("x"), "+1", "+2")
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


class HandClock:
    """A `Clock` that stands still until it is set."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def utc(self) -> datetime:
        return NOON


class Sink(MessageSink):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(SendBuffer(2, 100))
        self.sent: list[dict[str, Any]] = []

    def media(self, message: bytes, at: int) -> None:
        self.sent.append(json.loads(message))

    def control(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def events(self) -> list[str]:
        """Of what was sent since the last time."""
        sent, self.sent = self.sent, []
        return [message["event"] for message in sent]


class NoDecoder:
    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        return Refusal(Problem.UNKNOWN, "no decoder")

    def cancel(self, job: int) -> None:
        raise AssertionError


def make(clock: HandClock | None = None, settings: StreamSettings | None = None, **params: Any) -> Stream:
    asked = stream_params("ws://app/", **{"mode": BidirectionalMode.RTP, **params})
    stream = Stream(
        asked, IDENTITY, "PCMU", settings or StreamSettings(), NoDecoder(), lambda digits: None, clock or HandClock()
    )
    stream.begin(1000)
    return stream


def app_sends(stream: Stream, **message: Any) -> None:
    stream.text(json.dumps(message).encode(), 1000)


def audio(milliseconds: int) -> dict[str, Any]:
    return {"event": "media", "media": {"payload": b64encode(b"m" * (milliseconds * 8)).decode()}}


def test_media_starts_with_the_socket_and_is_timed_from_its_start() -> None:
    clock, sink = HandClock(), Sink()
    stream = make(clock, track=Track.BOTH)
    stream.inbound_frame(ULAW, 480, 0)
    assert stream.state == "connecting"
    assert stream.opened(sink, 1000)
    clock.time = 1000.25
    stream.inbound_frame(ULAW, 500, 0)
    stream.outbound_frame(ULAW, 503)
    stream.digit("7")
    *opening, inbound, outbound, digit = sink.sent
    assert [message["event"] for message in opening] == ["connected", "start"]
    assert (inbound["media"]["timestamp"], outbound["media"]["timestamp"]) == ("250", "253")
    assert b64decode(inbound["media"]["payload"]) == ULAW
    assert (digit["dtmf"], digit["occurred_at"]) == ({"digit": "7"}, "2026-11-30T12:00:00.000000Z")
    assert stream.state == "open"


def test_a_new_socket_gets_the_replay_then_keys_and_marks_then_what_comes() -> None:
    sink, stream = Sink(), make()
    stream.opened(sink, 1000)
    stream.leg_changed("PCMU", 20)
    stream.inbound_frame(ULAW, 0, 0)
    app_sends(stream, **audio(160))
    app_sends(stream, event="mark", mark={"name": "m"})
    assert stream.disconnected(LOST, 1001) == 1001.25
    assert (stream.state, stream.waiting) == ("reconnecting", True)
    assert [stream.next_frame(at) for at in range(0, 200, 20)] == [b"m" * 160] * 8 + [None] * 2
    stream.digit("5")
    stream.inbound_frame(ULAW, 20, 0)
    sink = Sink()
    assert not stream.opened(sink, 1002)
    stream.inbound_frame(ULAW, 40, 0)
    assert sink.events() == ["connected", "start", "media", "media", "dtmf", "mark", "media"]
    assert (stream.reconnects, stream.report().last_cause) == (1, "the connection was lost")


def test_frames_left_in_a_lost_socket_are_not_counted_as_sent() -> None:
    sink, stream = Sink(), make(settings=StreamSettings(replay=0))
    stream.opened(sink, 1000)
    stream.inbound_frame(ULAW, 0, 0)
    stream.inbound_frame(ULAW, 20, 0)
    sink.outbox.media(b"the second frame", 20)
    sink.outbox.control(b"a mark")
    assert stream.report().frames_sent == 1
    stream.disconnected(LOST, 1001)
    stream.socket_released()
    report = stream.report()
    assert (report.frames_sent, report.frames_lost, report.frames_dropped) == (1, 2, 0)


@pytest.mark.parametrize(
    ("gone", "outcome"),
    [
        (Disconnect(DisconnectReason.CLOSED, "closed"), StreamClosed(None, "the app closed the socket")),
        (Disconnect(DisconnectReason.LOST, "broken"), StreamClosed("broken", "broken")),
        (Disconnect(DisconnectReason.GOING_AWAY, "1001"), StreamClosed(None, "the app closed the socket")),
    ],
)
def test_without_reconnecting_the_first_disconnect_is_the_end(gone: Disconnect, outcome: StreamClosed) -> None:
    stream = make(enable_reconnect=False)
    stream.opened(Sink(), 1000)
    assert stream.disconnected(gone, 1001) is None
    assert stream.outcome == outcome
    assert stream.state == "closing"


@pytest.mark.parametrize(
    ("reason", "error", "text"),
    [
        (DisconnectReason.LOST, True, "no new connection within 30 s after a loss; the last cause: connection refused"),
        (DisconnectReason.GOING_AWAY, False, "the app closed the socket with 1001, and none came in its place"),
    ],
)
def test_an_outage_longer_than_the_window_ends_the_stream(reason: DisconnectReason, error: bool, text: str) -> None:
    stream = make()
    stream.opened(Sink(), 1000)
    attempt_at = stream.disconnected(Disconnect(reason, "gone"), 1100)
    attempts = 0
    while attempt_at is not None:
        assert 1100 < attempt_at < 1130
        attempts += 1
        attempt_at = stream.disconnected(REFUSED, attempt_at)
    assert stream.failed_attempts == attempts
    outcome = stream.outcome
    assert outcome is not None
    assert (outcome.error is not None) is error
    assert outcome.reason.startswith(text)


def test_close_returns_stop_for_an_open_socket_and_keeps_the_first_outcome() -> None:
    stream, sink = make(), Sink()
    stream.opened(sink, 1000)
    sink.events()
    stop = stream.close("the call ended")
    assert json.loads(stop or b"")["event"] == "stop"
    assert stream.close("again") is None
    assert not stream.fail("too late")
    stream.inbound_frame(ULAW, 0, 0)
    stream.digit("1")
    app_sends(stream, event="nonsense")
    assert sink.events() == []
    assert stream.outcome == StreamClosed(None, "the call ended")


def test_close_between_two_sockets_stops_the_media() -> None:
    stream = make()
    stream.opened(Sink(), 1000)
    stream.disconnected(LOST, 1001)
    assert stream.close("the call ended") is None
    stream.inbound_frame(ULAW, 0, 0)
    assert (stream.waiting, stream.next_frame(0)) == (False, None)


def test_a_paused_stream_wants_no_frames_of_its_track() -> None:
    stream = make(track=Track.OUTBOUND)
    assert (stream.inbound, stream.outbound) == (False, True)
    stream.listen(False)
    assert (stream.inbound, stream.outbound, stream.plays) == (False, False, True)
    stream.listen(True)
    assert (stream.inbound, stream.outbound) == (False, True)


def test_for_the_opposite_leg_audio_without_a_bridge_is_dropped_and_counted() -> None:
    stream = make(target_legs=TargetLegs.OPPOSITE, settings=StreamSettings(prebuffer=0))
    stream.opened(Sink(), 1000)
    stream.leg_changed("PCMU", 20)
    app_sends(stream, **audio(100))
    assert [stream.next_frame(at) for at in (0, 20)] == [None, None]
    tap = stream.bridged()
    assert (stream.plays, tap.plays) == (False, True)
    tap.leg_changed("PCMU", 20)
    assert [tap.next_frame(at) for at in (7000, 7020)] == [b"m" * 160] * 2
    stream.parted()
    assert stream.plays
    assert stream.next_frame(80) is None
    assert stream.report().unheard_ms == 60


def test_for_both_legs_the_opposite_one_plays_a_copy() -> None:
    stream = make(target_legs=TargetLegs.BOTH, settings=StreamSettings(prebuffer=0))
    stream.opened(Sink(), 1000)
    stream.leg_changed("PCMU", 20)
    tap = stream.bridged()
    assert stream.plays
    tap.leg_changed("PCMU", 20)
    app_sends(stream, **audio(60))
    assert [stream.next_frame(at) for at in (0, 20, 40)] == [b"m" * 160] * 3
    assert [tap.next_frame(at) for at in (0, 20, 40, 60)] == [b"m" * 160] * 3 + [None]
    assert stream.report().unheard_ms == 0
