"""Numbers, times and order of the messages to an app."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.config import StreamSettings
from trunkline.media.codecs import CODECS, opus, transcoder
from trunkline.streaming.budget import Budget
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity
from trunkline.streaming.session import SendBuffer, Session

CONTROL_COST = 150
DETAIL_LIMIT = 200

ULAW = bytes(range(160))


@pytest.fixture
def session(identity: StreamIdentity) -> Session:
    return make(identity)


def make(identity: StreamIdentity, encoding: str = "PCMU", **settings: Any) -> Session:
    session = Session(stream_params("ws://app"), identity, encoding, StreamSettings(**settings))
    session.start_messages(1000.0)
    session.anchor(500, 1000.0)
    return session


def test_the_opening_is_connected_then_start_number_one(identity: StreamIdentity) -> None:
    connected, start = Session(stream_params("ws://app"), identity, "PCMU", StreamSettings()).start_messages(0)
    assert json.loads(connected)["event"] == "connected"
    assert json.loads(start)["sequence_number"] == "1"


def test_media_to_the_letter(session: Session) -> None:
    session.inbound(ULAW, 500, 0)
    assert session.inbound(b"\xff\xff\xff\xff", 540, 0) == (
        b'{"event":"media","sequence_number":"3","stream_id":"32de0dea-53cb-4b21-89a4-9e1819c043bc",'
        b'"media":{"track":"inbound","chunk":"2","timestamp":"40","payload":"/////w=="}}'
    )


@pytest.mark.parametrize(
    ("encoding", "described"),
    [
        ("PCMU", {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}),
        ("G722", {"encoding": "G722", "sample_rate": 8000, "channels": 1}),
        ("L16/8000", {"encoding": "L16", "sample_rate": 8000, "channels": 1}),
        ("L16/24000", {"encoding": "L16", "sample_rate": 24000, "channels": 1}),
        ("OPUS", {"encoding": "OPUS", "sample_rate": 48000, "channels": 1}),
    ],
)
def test_start_has_the_stream_format_in_either_byte_order(
    identity: StreamIdentity, encoding: str, described: dict[str, object]
) -> None:
    for endian in ("little", "big"):
        params, settings = stream_params("ws://app"), StreamSettings(l16_endian=endian)
        _, start = Session(params, identity, encoding, settings).start_messages(0)
        assert json.loads(start)["start"]["media_format"] == described


def test_start_has_the_bidirectional_format_as_an_extension(identity: StreamIdentity) -> None:
    params = stream_params(
        "ws://app",
        mode=BidirectionalMode.RTP,
        bidirectional_codec="L16",
        bidirectional_sampling_rate=22050,
    )
    _, start = Session(params, identity, "PCMU", StreamSettings(extensions=True)).start_messages(0)
    described = json.loads(start)["start"]["bidirectional_media_format"]
    assert described == {"encoding": "L16", "sample_rate": 22050, "channels": 1}


@pytest.mark.parametrize("encoding", ["PCMA", "G722", "L16/8000", "L16/16000", "L16/24000", "L16/48000", "OPUS"])
def test_both_tracks_are_transcoded_to_the_stream_format(identity: StreamIdentity, encoding: str) -> None:
    session = make(identity, encoding)
    session.leg_changed("PCMU")
    for track in (session.inbound(ULAW, 500, 0), session.outbound(ULAW, 500)):
        payload = b64decode(json.loads(track)["media"]["payload"])
        assert payload == transcoder("PCMU", encoding).convert(ULAW)


def test_a_peer_codec_other_than_the_legs_is_transcoded_on_the_inbound_track(identity: StreamIdentity) -> None:
    session = make(identity, "PCMU")
    session.leg_changed("PCMU")
    session.peer_changed("PCMA")
    inbound, outbound = session.inbound(ULAW, 500, 0), session.outbound(ULAW, 500)
    session.peer_changed("PCMU")
    payloads = [b64decode(json.loads(text)["media"]["payload"]) for text in (inbound, outbound)]
    assert payloads == [transcoder("PCMA", "PCMU").convert(ULAW), ULAW]
    assert b64decode(json.loads(session.inbound(ULAW, 520, 0))["media"]["payload"]) == ULAW


def test_l16_goes_out_in_the_byte_order_that_is_set(identity: StreamIdentity) -> None:
    payloads = []
    for endian in ("little", "big"):
        session = make(identity, "L16/8000", l16_endian=endian)
        session.leg_changed("PCMU")
        payloads.append(b64decode(json.loads(session.inbound(ULAW, 500, 0))["media"]["payload"]))
    little, big = payloads
    assert little == CODECS["PCMU"].decoder()(ULAW)
    assert big[0::2] == little[1::2]
    assert big[1::2] == little[0::2]


def test_opus_of_30_ms_packets_is_sent_in_60_ms_with_the_time_of_the_first(
    identity: StreamIdentity,
) -> None:
    session = make(identity, "OPUS")
    session.leg_changed("PCMU")
    texts = [session.inbound(bytes(240), 500 + 30 * number, 0) for number in range(4)]
    assert texts[0] == texts[2] == b""
    media = [json.loads(text)["media"] for text in (texts[1], texts[3])]
    assert [(frame["chunk"], frame["timestamp"]) for frame in media] == [("1", "0"), ("2", "60")]


def test_an_undecodable_packet_counts_as_lost(identity: StreamIdentity) -> None:
    session = make(identity, "PCMU")
    session.leg_changed("OPUS")
    session.inbound(opus.silence(20), 500, 0)
    assert session.inbound(b"\xff", 520, 0) == b""
    media = json.loads(session.inbound(opus.silence(20), 540, 0))["media"]
    assert (media["chunk"], media["timestamp"], len(b64decode(media["payload"]))) == ("3", "40", 160)
    assert (session.missing, session.frames) == (1, 2)


def test_one_sequence_for_all_and_a_chunk_count_for_each_track(session: Session) -> None:
    texts = [
        session.inbound(ULAW, 500, 0),
        session.outbound(
            ULAW,
            505,
        ),
        session.digit("5", datetime(2025, 1, 1, tzinfo=UTC)),
        session.mark(b'"m"', 0, cleared=False),
        session.outbound(ULAW, 525),
        session.inbound(ULAW, 520, 0),
        session.stop(),
    ]
    frames = [json.loads(text) for text in texts]
    assert [frame["sequence_number"] for frame in frames] == ["2", "3", "4", "5", "6", "7", "8"]
    media = [frame["media"] for frame in frames if frame["event"] == "media"]
    assert [(frame["track"], frame["chunk"], frame["timestamp"]) for frame in media] == [
        ("inbound", "1", "0"),
        ("outbound", "1", "5"),
        ("outbound", "2", "25"),
        ("inbound", "2", "20"),
    ]


def test_lost_frames_leave_a_gap_in_chunk_and_are_counted(session: Session) -> None:
    chunks = [json.loads(session.inbound(ULAW, at, lost))["media"]["chunk"] for at, lost in [(500, 7), (580, 3)]]
    assert chunks == ["1", "5"]  # packets lost before the first frame do not count for this stream
    assert session.missing == 3


def test_timestamps_count_from_the_streams_start_not_from_the_first_frame(identity: StreamIdentity) -> None:
    session = Session(stream_params("ws://app"), identity, "PCMU", StreamSettings())
    session.start_messages(10.0)
    session.anchor(90_000, 13.5)
    assert json.loads(session.inbound(ULAW, 90_000, 0))["media"]["timestamp"] == "3500"
    assert json.loads(session.outbound(ULAW, 90_004))["media"]["timestamp"] == "3504"


def test_a_frame_from_before_the_start_has_no_negative_time(session: Session) -> None:
    assert json.loads(session.outbound(ULAW, 480))["media"]["timestamp"] == "0"


def test_the_stream_keeps_its_format_when_the_leg_changes_codec(session: Session) -> None:
    before = json.loads(session.inbound(ULAW, 500, 0))["media"]["payload"]
    session.leg_changed("PCMA")
    alaw = transcoder("PCMU", "PCMA").convert(ULAW)
    after = json.loads(session.inbound(alaw, 520, 0))["media"]["payload"]
    session.leg_changed("PCMU")
    again = json.loads(session.outbound(ULAW, 520))["media"]["payload"]
    assert b64decode(before) == b64decode(again) == ULAW
    assert b64decode(after) == transcoder("PCMA", "PCMU").convert(alaw) != alaw


def test_a_stream_in_another_codec_than_the_leg_is_transcoded(identity: StreamIdentity) -> None:
    session = make(identity, "G722")
    session.leg_changed("PCMU")
    payload = b64decode(json.loads(session.inbound(ULAW, 500, 0))["media"]["payload"])
    assert len(payload) == 160
    assert payload == transcoder("PCMU", "G722").convert(ULAW)


def test_errors_are_limited_per_second_but_all_counted(identity: StreamIdentity) -> None:
    session = make(identity, error_rate=2)
    refusal = Refusal(Problem.MALFORMED, "x")
    sent = [session.refuse(refusal, now) is not None for now in (0.0, 0.6, 0.7, 0.99, 1.0, 1.5, 1.6, 1.7)]
    assert sent == [True, True, False, False, True, False, True, False]
    assert session.errors == {"malformed_frame": 8}
    assert session.refusals == {"malformed_frame": "x"}


def test_the_last_detail_of_each_error_is_kept_up_to_a_length(identity: StreamIdentity) -> None:
    session = make(identity, error_rate=0)
    for detail in ("first", "y" * 1000):
        session.refuse(Refusal(Problem.UNKNOWN, detail), 0.0)
    session.refuse(Refusal(Problem.MALFORMED, "z"), 0.0)
    assert session.refusals == {"unknown_error": "y" * DETAIL_LIMIT, "malformed_frame": "z"}


def test_with_an_error_rate_of_zero_errors_are_only_counted(identity: StreamIdentity) -> None:
    session = make(identity, error_rate=0)
    assert session.refuse(Refusal(Problem.UNKNOWN, "x"), 0.0) is None
    assert session.errors == {"unknown_error": 1}


def test_extensions_add_members_to_returned_marks(identity: StreamIdentity) -> None:
    session = make(identity, extensions=True)
    assert json.loads(session.mark(b"1", 40, cleared=False))["mark"] == {"name": 1, "played_ms": 40}
    assert json.loads(session.mark(b"1", 40, cleared=True))["mark"] == {"name": 1, "played_ms": 40, "cleared": True}


def drain(outbox: SendBuffer) -> list[bytes]:
    messages = []
    while (message := outbox.pop()) is not None:
        messages.append(message)
    return messages


def test_the_outbox_keeps_so_many_seconds_and_drops_the_oldest_media() -> None:
    outbox = SendBuffer(2, 100)
    for number in range(150):
        outbox.media(b"%d" % number, number * 20)
    assert outbox.dropped_frames == 50
    assert drain(outbox) == [b"%d" % number for number in range(50, 150)]


def test_control_messages_are_kept_in_order_when_media_are_dropped() -> None:
    outbox = SendBuffer(1, 100)
    outbox.media(b"old", 0)
    outbox.control(b"mark")
    outbox.media(b"new", 500)
    outbox.control(b"dtmf")
    outbox.media(b"newest", 1400)
    assert outbox.dropped_frames == 1
    assert drain(outbox) == [b"mark", b"new", b"dtmf", b"newest"]


def test_control_messages_are_bounded_too() -> None:
    outbox = SendBuffer(1, 2)
    for message in (b"1", b"2", b"3"):
        outbox.control(message)
    assert outbox.dropped_control == 1
    assert drain(outbox) == [b"2", b"3"]


def test_the_outbox_is_bounded_even_when_time_stands_still() -> None:
    outbox = SendBuffer(1, 2)
    for _ in range(1000):
        outbox.media(b"x", 0)
    assert len(outbox) == outbox.frames == 200


@given(st.lists(st.booleans(), max_size=60))
def test_messages_that_are_not_dropped_are_sent_in_order(kinds: list[bool]) -> None:
    outbox = SendBuffer(0.2, 10)
    for number, is_media in enumerate(kinds):
        if is_media:
            outbox.media(b"%d" % number, number * 20)
        else:
            outbox.control(b"%d" % number)
    numbers = [int(message) for message in drain(outbox)]
    assert numbers == sorted(numbers)
    assert len(numbers) + outbox.dropped_frames + outbox.dropped_control == len(kinds)


def test_control_messages_take_memory_and_drop_the_oldest_when_there_is_none() -> None:
    budget = Budget(2 * (CONTROL_COST + 10))
    outbox = SendBuffer(2, 100, budget)
    for number in range(3):
        outbox.control(b"%d" % number * 10)
    assert (len(outbox), outbox.dropped_control) == (2, 1)
    outbox.control(b"x" * 1000)
    assert (len(outbox), outbox.dropped_control, budget.held) == (0, 4, 0)
    outbox.control(b"1" * 10)
    outbox.control(b"2" * 10)
    assert outbox.pop() == b"1" * 10
    assert budget.held == CONTROL_COST + 10
    outbox.release()
    assert (budget.held, len(outbox)) == (0, 1)


def test_frames_that_a_new_socket_gets_are_no_loss(identity: StreamIdentity) -> None:
    session = make(identity, replay=1)
    for number in range(10):
        session.hold_inbound(ULAW, 500 + 20 * number, 0)
    assert len(session.replay_messages()) == 10
    for number in range(10, 100):
        session.inbound(ULAW, 500 + 20 * number, 0)
    assert session.replay.dropped == 0
