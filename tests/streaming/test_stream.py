"""A stream without sockets: its clock and its sink are the test's."""

import json
import weakref
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from mp3files import mp3
from stream_params import stream_params
from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.streaming.files import Answer, FileDecoder
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


class SlowDecoder(NoDecoder):
    """Takes files; the test answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        self.answers.append(answer)
        return len(self.answers)


def make(
    clock: HandClock | None = None,
    settings: StreamSettings | None = None,
    decoder: FileDecoder | None = None,
    **params: Any,
) -> Stream:
    asked = stream_params("ws://app/", **{"mode": BidirectionalMode.RTP, **params})
    settings, decoder, clock = settings or StreamSettings(), decoder or NoDecoder(), clock or HandClock()
    stream = Stream(asked, IDENTITY, asked.encoding("PCMU"), settings, decoder, lambda digits: None, clock)
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


def test_the_replay_has_both_tracks_in_the_order_of_the_call() -> None:
    sink, stream = Sink(), make(track=Track.BOTH)
    stream.opened(Sink(), 1000)
    stream.inbound_frame(ULAW, 0, 0)
    stream.outbound_frame(ULAW, 0)
    stream.disconnected(LOST, 1001)
    stream.outbound_frame(ULAW, 20)
    stream.inbound_frame(ULAW, 20, 0)
    stream.opened(sink, 1002)
    media = [message["media"] for message in sink.sent if message["event"] == "media"]
    tracks = [(frame["track"], frame["chunk"], frame["timestamp"]) for frame in media]
    assert [track for track in tracks if track[0] == "inbound"] == [("inbound", "1", "0"), ("inbound", "2", "20")]
    assert [track for track in tracks if track[0] == "outbound"] == [("outbound", "1", "0"), ("outbound", "2", "20")]
    times = [int(frame["timestamp"]) for frame in media]
    assert times == sorted(times)


def test_two_packets_of_30_ms_are_one_of_an_opus_stream_also_in_the_replay() -> None:
    sink, stream = Sink(), make(track=Track.BOTH, codec="OPUS")
    stream.opened(sink, 1000)
    stream.leg_changed("PCMU", 30)
    sink.events()
    half = bytes(240)
    for at in (0, 30):
        stream.inbound_frame(half, at, 0)
        stream.outbound_frame(half, at)
    assert [message["media"]["track"] for message in sink.sent] == ["inbound", "outbound"]
    stream.disconnected(LOST, 1001)
    for at in (60, 90, 120):
        stream.inbound_frame(half, at, 0)
    sink = Sink()
    stream.opened(sink, 1002)
    replayed = [message["media"] for message in sink.sent if message["event"] == "media"]
    assert [(one["track"], one["timestamp"]) for one in replayed] == [
        ("inbound", "0"),
        ("outbound", "0"),
        ("inbound", "60"),
    ]


def test_the_peers_codec_changes_the_inbound_track_alone() -> None:
    sink, stream = Sink(), make(track=Track.BOTH)
    stream.opened(sink, 1000)
    stream.leg_changed("PCMU", 20)
    sink.events()
    stream.peer_changed("PCMA")
    stream.inbound_frame(b"\xd5" * 160, 0, 0)
    stream.outbound_frame(ULAW, 0)
    inbound, outbound = (b64decode(message["media"]["payload"]) for message in sink.sent)
    assert (inbound, outbound) == (b"\xfe" * 160, ULAW), "PCMA's least positive level is PCMU's second"


def test_with_extensions_the_app_is_sent_how_much_is_queued() -> None:
    sink, stream = Sink(), make(settings=StreamSettings(prebuffer=0, extensions=True))
    stream.opened(sink, 1000)
    stream.leg_changed("PCMU", 20)
    app_sends(stream, **audio(160))
    sink.events()
    for at in range(0, 200, 20):
        stream.next_frame(at)
    queues = [message["queue"]["queued_ms"] for message in sink.sent]
    assert queues == [140, 40, 0]


def test_what_a_late_clock_skips_is_not_played_later() -> None:
    stream = make(settings=StreamSettings(prebuffer=0))
    stream.opened(Sink(), 1000)
    stream.leg_changed("PCMU", 20)
    app_sends(stream, **audio(200))
    assert stream.next_frame(0) == b"m" * 160
    stream.held_up(20, 100, 0)
    assert [stream.next_frame(at) for at in range(120, 220, 20)] == [b"m" * 160] * 4 + [None]


@pytest.mark.parametrize("connected", [True, False])
def test_a_decoded_file_plays_and_a_refused_one_returns_its_error_and_mark(connected: bool) -> None:
    decoder, sink = SlowDecoder(), Sink()
    stream = make(decoder=decoder, settings=StreamSettings(mp3_interval=0, prebuffer=0), mode=BidirectionalMode.MP3)
    stream.opened(sink, 1000)
    stream.leg_changed("PCMU", 20)
    for name in ("first", "second"):
        payload = b64encode(mp3(seconds=0.1)).decode()
        app_sends(stream, event="media", media={"payload": payload})
        app_sends(stream, event="mark", mark={"name": name})
    if not connected:
        stream.disconnected(LOST, 1001)
    sink.events()
    decoder.answers[0](b"f" * 320)
    decoder.answers[1](Refusal(Problem.INVALID_MEDIA, "no mp3"))
    assert sink.events() == ["error"] * connected
    assert stream.report().errors == {Problem.INVALID_MEDIA.title: 1}
    assert [stream.next_frame(at) for at in (0, 20, 40)] == [b"f" * 160] * 2 + [None]
    if not connected:
        stream.opened(sink, 1002)
    marks = [message["mark"]["name"] for message in sink.sent if message["event"] == "mark"]
    assert marks == ["first", "second"]


def test_only_with_the_opposite_leg_as_its_target_a_stream_plays_elsewhere() -> None:
    assert [make(target_legs=legs).plays_elsewhere for legs in TargetLegs] == [
        legs is not TargetLegs.SELF for legs in TargetLegs
    ]


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


def test_a_released_stream_keeps_its_counters_and_not_its_socket() -> None:
    sink, stream = Sink(), make()
    stream.opened(sink, 1000)
    stream.inbound_frame(ULAW, 0, 0)
    stream.inbound_frame(ULAW, 20, 0)
    sink.outbox.media(b"the second frame", 20)
    stream.release()
    released = weakref.ref(sink)
    del sink
    assert released() is None
    assert stream.report().frames_sent == 1


def with_a_file(sink: Sink) -> tuple[Stream, Answer]:
    """A stream whose app has sent a file, and a mark behind it; the decoder's answer is still to come."""
    decoder = SlowDecoder()
    stream = make(decoder=decoder, mode=BidirectionalMode.MP3)
    stream.opened(sink, 1000)
    stream.leg_changed("PCMU", 20)
    sink.events()
    app_sends(stream, event="media", media={"payload": b64encode(mp3(seconds=0.1)).decode()})
    app_sends(stream, event="mark", mark={"name": "behind"})
    assert (sink.events(), stream.next_frame(0)) == ([], None)
    return stream, decoder.answers[0]


def test_a_refused_file_is_an_error_at_once_and_the_mark_behind_it_is_due() -> None:
    sink = Sink()
    stream, answer = with_a_file(sink)
    answer(Refusal(Problem.INVALID_MEDIA, "broken"))
    assert sink.events() == ["error", "mark"]
    assert stream.next_frame(20) is None


def test_a_decoded_file_is_played_though_nothing_was_queued_before() -> None:
    sink = Sink()
    stream, answer = with_a_file(sink)
    answer(b"m" * 320)
    assert sink.events() == []
    played = [stream.next_frame(at) for at in range(20, 200, 20)]
    assert list(filter(None, played)) == [b"m" * 160] * 2
    assert sink.events() == ["mark"]


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
