"""What the peer may send beside the leg's codec: another agreed codec, other payload types, changes during the call."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.config import MediaSettings
from trunkline.ids import LegId, Seconds, Ssrc
from trunkline.media.audio.level import LevelProbe
from trunkline.media.audio.recorder import Recorder
from trunkline.media.bridge.bridge import BridgeSink, BridgeSource
from trunkline.media.bridge.buffer import BridgeBuffer
from trunkline.media.codecs import CODECS
from trunkline.media.inbound import CHANGE_BURST, CHANGES_PER_SECOND
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.report import LegReport
from trunkline.media.rtp import rtcp
from trunkline.sdp.values import Direction, Endpoint, MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
Rtp = Callable[..., bytes]
T0 = 100.0
ADDRESS = ("127.0.0.1", 9)
AGREED = (
    (0, "PCMU"),
    (8, "PCMA"),
    (96, "PCMU"),
    (111, "OPUS"),
    (107, "OPUS"),
    (97, "telephone-event"),
    (98, "CN"),
)
OPUS = b"\xfc\xff\xfe"


@pytest.fixture
def several(params: MediaParams) -> MediaParams:
    """PCMU is sent; other payload types may be received."""
    return replace(params, heard=AGREED)


@pytest.fixture
def tap(make_tap: "type[RecordingTap]") -> "RecordingTap":
    return make_tap()


def feed(leg: Leg, packets: list[bytes], start: float = T0 + 1, step: float = 0.02) -> None:
    for n, datagram in enumerate(packets):
        leg.inbound.receive(datagram, Seconds(start + n * step))


def test_agreed_payload_types_are_accepted_and_others_are_not(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1, kind=96), rtp(2, kind=8), rtp(3, kind=8), rtp(4, kind=9), rtp(5, kind=0), rtp(6)])
    assert [(payload[0], at, missing) for payload, at, missing in tap.heard] == [
        (n, 1000 + 20 * n, 0) for n in (0, 1, 2, 3, 5, 6)
    ]
    assert tap.peers == ["PCMA", "PCMU"], "another number of the same codec is no change"
    assert tap.changes == [("PCMU", 20)]
    report = leg.report(Seconds(T0 + 2))
    assert (report.unknown_payload_type, report.seen_payload_type, report.frames_in) == (1, 9, 6)
    assert (report.codec, report.codec_in, report.payload_type) == ("PCMU", "PCMU", 0)


def test_from_its_second_packet_another_payload_type_takes_the_fast_path(
    make_leg: MakeLeg, several: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(several)
    packets = [rtp(n, kind=0 if n < 5 else 8) for n in range(20)]
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        feed(leg, packets)
    finally:
        sys.setprofile(None)
    if "receive" not in called:
        pytest.skip("compiled: its calls are not seen")
    assert called.count("receive") == 20
    assert called.count("_receive_other") == 2, "the first packet of all, and the first of the other type"


def test_events_and_comfort_noise_have_the_payload_types_of_either_side(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    packets = [rtp(0), rtp(1, bytes([3, 0x8A, 0, 160]), kind=97, timestamp=160), rtp(2, b"\x40", kind=98)]
    packets += [rtp(3, bytes([4, 0x8A, 0, 160]), kind=101, timestamp=480), rtp(4, b"\x40", kind=13), rtp(5)]
    feed(leg, packets)
    assert tap.digits == "34"
    assert [payload[0] for payload in tap.payloads] == [0, 5]
    assert leg.report(Seconds(T0 + 2)).unknown_payload_type == 0


def test_a_telephone_event_type_of_our_offer_is_one_whatever_the_answer_says(
    make_leg: MakeLeg, params: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    heard = ((101, "telephone-event"), (111, "OPUS"), (97, "telephone-event"))
    leg = make_leg(replace(params, codec="OPUS", payload_type=101, dtmf_payload_type=97, heard=heard))
    leg.attach(tap)
    feed(leg, [rtp(0, bytes([3, 0x8A, 0, 160]), kind=101), rtp(1, OPUS, kind=111), rtp(2, OPUS, kind=111)])
    assert tap.payloads == [OPUS, OPUS]
    assert tap.digits == "3"


class Told:
    """A tap that records each frame's first byte and codec."""

    inbound = True
    outbound = plays = False

    def __init__(self) -> None:
        self.codec = ""
        self.frames: list[tuple[str, int]] = []

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        self.frames.append((self.codec, payload[0]))

    def outbound_frame(self, payload: bytes, at: int) -> None: ...
    def digit(self, digit: str) -> None: ...
    def next_frame(self, at: int) -> bytes | None: ...

    def leg_changed(self, codec: str, ptime: int) -> None:
        self.codec = codec

    def held_up(self, at: int, skipped: int, late: int) -> None:
        pass

    def peer_changed(self, codec: str) -> None:
        self.codec = codec


@given(
    st.lists(st.tuples(st.sampled_from([0, 8, 96, 107]), st.integers(0, 3)), min_size=1, max_size=CHANGE_BURST),
    st.integers(0, CHANGE_BURST - 1),
)
def test_each_frame_has_the_codec_of_its_packet_in_any_order_of_arrival(
    packets: list[tuple[int, int]], renegotiated: int
) -> None:
    params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", 9), heard=AGREED)
    random = bytes(RANDOM_BYTES)
    leg = Leg(
        LegId(1),
        params,
        MediaSettings(),
        random=random,
        now=Seconds(T0),
        wall=0,
        waiting=set(),
        local_port=1,
        first_at=0,
    )
    tap = Told()
    leg.attach(tap)
    order = sorted(range(len(packets)), key=lambda n: n + packets[n][1] * 1.5)
    for place, n in enumerate(order):
        if place == renegotiated:
            leg.update(replace(params, codec="PCMA", payload_type=8), Seconds(T0 + 1))
        header = bytes((0x80, packets[n][0])) + n.to_bytes(2) + (n * 160).to_bytes(4) + bytes(4)
        leg.inbound.receive(header + bytes([n]) * 160, Seconds(T0 + 1 + place * 0.001))
    leg.inbound.flush()
    numbers = [n for _, n in tap.frames]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == order[0]
    assert tap.frames == [(dict(AGREED)[packets[n][0]], n) for n in numbers]


def test_the_timeline_goes_on_where_the_other_codec_has_another_clock(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(n) for n in range(5)])
    feed(leg, [rtp(5 + n, OPUS, kind=111, timestamp=7_000_000 + 960 * n) for n in range(5)], start=T0 + 1.1)
    feed(leg, [rtp(10 + n) for n in range(5)], start=T0 + 1.2)
    assert [at for _, at, _ in tap.heard] == [1000 + 20 * n for n in range(15)]
    assert tap.peers == ["OPUS", "PCMU"]
    report = leg.report(Seconds(T0 + 2))
    assert (report.restarts, report.jitter_ms) == (0, 0)


def test_a_paused_tap_is_notified_of_a_codec_change(
    make_leg: MakeLeg, several: MediaParams, make_tap: "type[RecordingTap]", rtp: Rtp
) -> None:
    """Like a paused stream, which would otherwise resume its track in the wrong codec."""
    leg, tap = make_leg(several), make_tap(inbound=False)
    leg.attach(tap)
    feed(leg, [rtp(0, kind=8)])
    assert tap.peers == ["PCMA"]


def test_until_the_first_packet_the_peer_codec_is_the_sending_codec(make_leg: MakeLeg, several: MediaParams) -> None:
    leg = make_leg(several)
    leg.update(replace(several, codec="PCMA", payload_type=8), Seconds(T0 + 1))
    assert leg.report(Seconds(T0 + 1)).codec_in == "PCMA"


def test_jitter_reported_by_the_peer_is_in_the_clock_rate_that_we_send(
    make_leg: MakeLeg, several: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(replace(several, codec="OPUS", payload_type=111))
    feed(leg, [rtp(0)])
    block = rtcp.ReportBlock(leg.outbound.ssrc, 0, 0, 0, 480, 0, 0)
    leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7), (block,), None), "peer", bye=False), ADDRESS, Seconds(T0 + 2))
    assert leg.report(Seconds(T0 + 2)).peer_jitter_ms == 10


def test_a_tap_attached_later_is_notified_of_the_peer_codec(
    make_leg: MakeLeg, several: MediaParams, make_tap: "type[RecordingTap]", rtp: Rtp
) -> None:
    leg = make_leg(several)
    feed(leg, [rtp(0, kind=8)])
    tap = make_tap()
    leg.attach(tap)
    assert (tap.changes, tap.peers) == ([("PCMU", 20)], ["PCMA"])
    assert leg.report(Seconds(T0 + 2)).codec_in == "PCMA"


def test_a_re_invite_leaves_the_peer_in_the_codec_that_it_sends(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(0, kind=8)])
    leg.update(replace(several, direction=Direction.SENDONLY), Seconds(T0 + 1.01))
    feed(leg, [rtp(1, kind=8), rtp(2, kind=96)], start=T0 + 1.02)
    leg.update(several, Seconds(T0 + 1.05))
    feed(leg, [rtp(3, kind=8)], start=T0 + 1.06)
    assert tap.peers == ["PCMA", "PCMU", "PCMA"]
    leg.update(replace(several, ptime=30), Seconds(T0 + 1.07))
    assert tap.changes == [("PCMU", 20), ("PCMU", 30)]
    assert tap.peers == ["PCMA", "PCMU", "PCMA", "PCMA"]
    feed(leg, [rtp(4, kind=8)], start=T0 + 1.08)
    assert [payload[0] for payload in tap.payloads] == [0, 3, 4]


def test_packets_sent_before_a_re_invite_keep_their_codec(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(0)])
    leg.update(replace(several, codec="PCMA", payload_type=8), Seconds(T0 + 1.01))
    feed(leg, [rtp(1), rtp(2, kind=8)], start=T0 + 1.02)
    assert [payload[0] for payload in tap.payloads] == [0, 1, 2]
    assert (tap.changes, tap.peers) == ([("PCMU", 20), ("PCMA", 20)], ["PCMU", "PCMA"])


def test_a_codec_that_is_no_longer_agreed_is_dropped(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(0, kind=8)])
    leg.update(replace(several, heard=()), Seconds(T0 + 1.01))
    feed(leg, [rtp(1, kind=8), rtp(2)], start=T0 + 1.02)
    assert [payload[0] for payload in tap.payloads] == [0, 2]
    assert (tap.changes, tap.peers) == ([("PCMU", 20), ("PCMU", 20)], ["PCMA"])


def test_an_empty_packet_of_another_type_changes_nothing(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1, kind=8)[:12], rtp(2)])
    assert (len(tap.heard), tap.peers) == (2, [])


def test_codec_changes_at_every_packet_are_bounded(
    make_leg: MakeLeg, several: MediaParams, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg(several)
    leg.attach(tap)
    feed(leg, [rtp(n, kind=8 * (n % 2)) for n in range(500)])
    seconds = 500 * 0.02 + 1
    assert len(tap.peers) == CHANGE_BURST + (seconds - 1) * CHANGES_PER_SECOND - 1
    report = leg.report(Seconds(T0 + 20))
    assert report.frames_in + report.unknown_payload_type == 500
    assert report.frames_in > 250, "the codec that it was heard in last is heard on"
    before = len(tap.heard)
    feed(leg, [rtp(500 + n, kind=8 * (n // 10 % 2)) for n in range(100)], start=T0 + 30)
    assert len(tap.heard) == before + 100


class Fails(Told):
    """A tap that raises on a codec change."""

    def peer_changed(self, codec: str) -> None:
        raise ArithmeticError


def test_a_port_that_fails_at_a_change_is_found(make_leg: MakeLeg, several: MediaParams, rtp: Rtp) -> None:
    leg, tap = make_leg(several), Fails()
    leg.attach(tap)
    with pytest.raises(ArithmeticError):
        feed(leg, [rtp(0, kind=8)])
    assert leg.failed_tap() is tap


def test_audio_is_recorded_and_measured_in_the_codec_that_it_arrives_in() -> None:
    loud = CODECS["PCMA"].encoder()(bytes([0, 0x40, 0, 0xC0]) * 80)
    blocks: list[bytes] = []
    recorder = Recorder(
        1, max_length=0, silence=0, loud=-45, finish_on="", on_block=blocks.append, on_over=lambda why, key: None
    )
    recorder.leg_changed("PCMU", 20)
    recorder.peer_changed("PCMA")
    ear = LevelProbe()
    ear.leg_changed("PCMU", 20)
    ear.peer_changed("PCMA")
    for at in range(0, 1000, 20):
        recorder.outbound_frame(CODECS["PCMU"].silence(20), at)
        recorder.inbound_frame(loud, at, 0)
        ear.inbound_frame(loud, at, 0)
        ear.outbound_frame(CODECS["PCMU"].silence(20), at)
    recorder.finish()
    assert b"".join(blocks) == CODECS["PCMA"].decoder()(loud) * 50
    report = ear.measure(LegReport())
    assert (report.heard_level_db, report.said_level_db < -60) == (-6, True)
    ear.peer_changed("PCMU")
    report = ear.measure(LegReport())
    assert (report.heard_frames, report.said_frames) == (0, 50)


def test_a_bridge_passes_the_listeners_codec_and_transcodes_the_rest() -> None:
    playout = BridgeBuffer()
    ear, mouth = BridgeSource(playout, lambda key: None), BridgeSink(playout)
    mouth.leg_changed("PCMA", 20)
    ear.leg_changed("PCMU", 20)
    ear.peer_changed("PCMA")
    coded = bytes(range(160))
    ear.inbound_frame(coded, 0, 0)
    assert mouth.next_frame(0) == coded
    ear.peer_changed("PCMU")
    ear.inbound_frame(coded, 20, 0)
    assert mouth.next_frame(20) not in (coded, None)
