"""Key presses as they are received: each is one digit, however devices and networks depart from RFC 4733."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.network import event_of
from trunkline.ids import RtpTime, Seconds, Ssrc
from trunkline.media.rtp.dtmf import DIGITS
from trunkline.media.rtp.packet import parse
from trunkline.media.rtp.presses import DigitReceiver, EventPacket

PAIRED = Seconds(2.0)
TIMEOUT = Seconds(0.2)
UNPAIRED_LIMIT = 16

Capture = Callable[[str], list[tuple[float, bytes]]]
PACKET = 160
"""RTP units of a packet of 20 ms."""


@dataclass(frozen=True)
class Sent:
    """A packet as a device sends it, `at` seconds after the call began."""

    event: int
    timestamp: int
    duration: int
    sequence: int
    at: float
    end: bool = False
    marker: bool = False
    ssrc: int = 7


@dataclass(frozen=True)
class Device:
    """How a device sends key presses: packets of 20 ms, with audio between the presses."""

    updates: int = 4
    ends: int = 3
    step: int = 0
    """What the timestamp grows by from packet to packet of a press."""
    units: int = PACKET
    """What the duration grows by."""
    clock: float = 1.0
    """Its speed, 0 for one that stands still from press to press."""
    marked: bool = True
    """Its first packet has the marker bit."""
    pause: float = 0.1

    def press(self, keys: Sequence[int], start: float = 10.0) -> list[Sent]:
        sent: list[Sent] = []
        at = start
        for event in keys:
            count = self.updates + self.ends
            for n in range(count):
                place = round((at + n * 0.02) * 50)
                sent.append(
                    Sent(
                        event,
                        round(at * 8000 * self.clock) + n * self.step,
                        max(1, min(n + 1, self.updates + 1)) * self.units,
                        place,
                        at + n * 0.02,
                        end=n >= self.updates,
                        marker=self.marked and n == 0,
                    )
                )
            at += count * 0.02 + self.pause
        return sent


def receive(receiver: DigitReceiver, sent: Sent) -> str:
    payload = bytes([sent.event, 0x80 * sent.end | 10]) + min(sent.duration, 0xFFFF).to_bytes(2)
    timestamp = RtpTime(sent.timestamp & 0xFFFFFFFF)
    digits = ""
    if receiver.deadline is not None and receiver.deadline <= sent.at:
        digits = receiver.expire()
    received = receiver.receive(
        EventPacket(payload, timestamp, sent.sequence & 0xFFFF, Ssrc(sent.ssrc), sent.marker, Seconds(sent.at))
    )
    assert received is not None
    return digits + received


def digits_of(packets: Sequence[Sent], receiver: DigitReceiver | None = None) -> str:
    """All digits of `packets`, the last one by the timeout if necessary."""
    receiver = receiver or DigitReceiver()
    return "".join([receive(receiver, packet) for packet in packets]) + receiver.expire()


# ── RFC 4733 ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("event", "digit"), list(enumerate("0123456789*#ABCD")))
def test_a_press_is_one_digit_however_often_its_end_is_repeated(event: int, digit: str) -> None:
    assert digits_of(Device().press([event])) == digit


def test_the_digit_is_reported_at_the_first_end_packet() -> None:
    receiver = DigitReceiver()
    packets = Device().press([5])
    assert [receive(receiver, packet) for packet in packets] == ["", "", "", "", "5", "", ""]
    assert receiver.deadline is None


def test_the_same_key_twice_is_two_digits() -> None:
    assert digits_of(Device().press([5, 5])) == "55"


def test_a_press_whose_ends_are_lost_ends_when_the_next_begins() -> None:
    receiver = DigitReceiver()
    packets = Device(updates=6).press([1, 2])
    assert [receive(receiver, packet) for packet in (packets[0], packets[5], packets[9])] == ["", "", "1"]


def test_a_press_without_packets_ends_after_the_timeout_despite_a_late_end() -> None:
    receiver = DigitReceiver()
    first, *_, end = Device().press([9])
    assert receive(receiver, first) == ""
    assert receiver.deadline == first.at + TIMEOUT
    assert receiver.expire() == "9"
    assert receiver.deadline is None
    for late in (0.3, 1.2, 4.0, 20.0):
        assert receive(receiver, replace(end, at=first.at + late)) == ""


def test_packets_of_the_press_before_are_ignored() -> None:
    for keys in ([1, 2], [5, 5]):
        receiver = DigitReceiver()
        packets = Device().press(keys)
        before, after = packets[:7], packets[7:]
        assert digits_of([*before, *after[:2], before[-1], before[0], *after[2:]], receiver) == f"{keys[0]}{keys[1]}"


def test_a_long_press_goes_on_in_a_new_segment_or_with_a_duration_that_wraps() -> None:
    packets = Device(updates=600).press([3])
    segment = 409 * PACKET
    segments = [replace(p, timestamp=p.timestamp + p.duration // segment * segment) for p in packets]
    segments = [replace(p, duration=p.duration % segment) for p in segments]
    assert digits_of(segments) == "3"
    assert digits_of([replace(p, duration=p.duration % 0x10000) for p in packets]) == "3"
    assert digits_of(packets) == "3"


def test_timestamps_and_sequence_numbers_wrap() -> None:
    start = 2**32 / 8000 - 0.05
    assert digits_of(Device().press([1, 1, 2], start=start)) == "112"
    assert digits_of(Device().press([1, 1, 2], start=65530 / 50)) == "112"


def test_the_same_key_again_after_as_many_packets_as_there_are_sequence_numbers() -> None:
    """21.8 minutes later: by its sequence number it would be a packet from just before."""
    first = Device().press([5])
    for apart in (65530, 65536, 65540, 32768):
        again = [replace(p, sequence=p.sequence + apart) for p in Device().press([5], start=10 + apart / 50)]
        assert digits_of([*first, *again]) == "55"


def test_other_events_are_not_reported_but_end_the_press_before() -> None:
    receiver = DigitReceiver()
    four, flash = Device().press([4])[0], Device().press([16], start=10.1)
    assert receive(receiver, four) == ""
    assert receive(receiver, flash[0]) == "4"
    assert digits_of(flash[1:], receiver) == ""
    assert digits_of(Device().press([99, 255])) == ""


def test_a_short_payload_is_malformed() -> None:
    packet = EventPacket(b"\x01\x80\x00", RtpTime(0), 0, Ssrc(0), marker=False, at=Seconds(0))
    assert DigitReceiver().receive(packet) is None


@pytest.mark.parametrize(
    ("name", "digit"),
    [*zip("0123456789", "0123456789", strict=True), ("star", "*"), ("pound", "#")],
)
def test_captured_key_presses_are_one_digit_each(capture: Capture, name: str, digit: str) -> None:
    receiver = DigitReceiver()
    received = ""
    for at, datagram in capture(f"dtmf_2833_{name}.pcap"):
        packet = parse(datagram)
        assert packet is not None
        received += receiver.receive(event_of(packet, at)) or ""
    assert received == digit


# ── devices ─────────────────────────────────────────────────────────────────────────────────────────────────

DEVICES = {
    "as the RFC has it": Device(),
    "long presses": Device(updates=150),
    "one update": Device(updates=1),
    "no end": Device(ends=0),
    "a timestamp that grows with each packet": Device(step=PACKET),
    "a timestamp that grows, and a duration that does not": Device(step=PACKET, units=0),
    "the same, and ends of another duration": Device(step=PACKET, updates=9),
    "nothing but three ends": Device(updates=0),
    "nothing but three ends, whose timestamp grows": Device(updates=0, step=PACKET),
    "nothing but one end": Device(updates=0, ends=1),
    "one packet, which is no end": Device(updates=1, ends=0),
    "a clock that stands still": Device(clock=0),
    "a clock that stands still, no marker": Device(clock=0, marked=False),
    "a clock that stands still, no end": Device(clock=0, ends=0, pause=0.3),
    "a clock that stands still, no end, no marker": Device(clock=0, ends=0, marked=False, pause=0.3),
    "a clock that stands still, one packet": Device(clock=0, updates=1, ends=0, marked=False, pause=0.3),
    "a clock that stands still, nothing but ends": Device(clock=0, updates=0, pause=0.15),
    "a clock that stands still, nothing but ends, no marker": Device(clock=0, updates=0, marked=False, pause=0.3),
    "a clock that starts again with each press and then grows": Device(clock=0, step=PACKET),
    "a clock that runs backwards": Device(clock=-1),
    "a clock that is twice too fast": Device(clock=2, step=2 * PACKET),
    "a clock that is twice too slow": Device(clock=0.5),
    "a pause of 40 ms": Device(updates=8, pause=0.04),
}


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("keys", [[5], [5, 5], [1, 2, 3], [8, 8, 8], [1, 1, 2, 2, 1], [11, 10, 11]], ids=str)
def test_every_press_of_any_device_is_reported_once(device: Device, keys: list[int]) -> None:
    assert digits_of(device.press(keys)) == "".join(DIGITS[key] for key in keys)


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_duplicate_packets_report_no_more_digits(device: Device) -> None:
    packets = device.press([4, 4, 5])
    assert digits_of([packet for sent in packets for packet in (sent, sent)]) == "445"
    lagging = sorted([(p.at, p) for p in packets] + [(p.at + 0.05, p) for p in packets], key=lambda one: one[0])
    assert digits_of([replace(packet, at=at) for at, packet in lagging]) == "445"


def test_markers_on_every_packet_begin_no_press() -> None:
    assert digits_of([replace(packet, marker=True) for packet in Device().press([5, 5])]) == "55"


def test_ends_repeated_under_timestamps_of_their_own_are_one_press() -> None:
    packets = Device().press([1, 1])
    moved = [replace(p, timestamp=p.timestamp + 5000 * (n % 7 - 4) * (n % 7 > 4)) for n, p in enumerate(packets)]
    assert len({packet.timestamp for packet in moved}) == 6
    assert digits_of(moved) == "11"


def test_one_sequence_number_for_a_whole_press() -> None:
    packets = Device().press([3, 3])
    assert digits_of([replace(packet, sequence=9 + n // 7) for n, packet in enumerate(packets)]) == "33"


def test_an_end_long_after_two_updates_is_of_the_same_press() -> None:
    first, second, *_, end = Device().press([9])
    assert digits_of([first, second, replace(end, at=11.7, sequence=end.sequence + 80, duration=13600)]) == "9"


@pytest.mark.parametrize(("later", "digits"), [(4, "5"), (5, "55")])
def test_an_end_after_a_pause_repeats_the_one_among_the_four_packets_before(later: int, digits: str) -> None:
    end = Sent(5, 80_000, 800, 500, 10.0, end=True)
    assert digits_of([end, replace(end, sequence=500 + later, at=10.3)]) == digits


def test_updates_at_long_intervals_are_one_press_if_the_duration_matches() -> None:
    slow = [Sent(7, 80_000, 8000 * n, 500 + 50 * n, 10.0 + n) for n in range(1, 5)]
    assert digits_of(slow) == "7"
    assert digits_of([slow[0], replace(slow[1], duration=slow[0].duration + 160)]) == "77"


@pytest.mark.parametrize("audio", [0, 1], ids=["events alone", "audio between them"])
def test_a_pause_within_a_press_begins_no_other_press(audio: int) -> None:
    sent = Device(updates=10).press([11])
    paused = [replace(p, sequence=n * (1 + audio), at=p.at + 0.4 * (n >= 3)) for n, p in enumerate(sent)]
    assert digits_of(paused) == "#"


def test_overlapping_presses_are_one_digit_each() -> None:
    one, two = Device(updates=10).press([1]), Device(updates=10).press([2], start=10.1)
    both = sorted([*one, *two], key=lambda packet: packet.at)
    numbered = [replace(packet, sequence=n) for n, packet in enumerate(both)]
    assert digits_of(numbered) == "12"


def test_two_presses_in_two_ssrcs_are_two_and_one_that_moves_is_one() -> None:
    packets = Device().press([5])
    other = [replace(packet, ssrc=8, sequence=packet.sequence + 30_000) for packet in packets]
    assert digits_of([*packets[:3], *other[3:]]) == "5"
    later = [replace(packet, timestamp=packet.timestamp + 2400, at=packet.at + 0.3) for packet in other]
    assert digits_of([*packets, *later]) == "55"


# ── networks ────────────────────────────────────────────────────────────────────────────────────────────────

KEYS = st.lists(st.integers(0, 15), min_size=1, max_size=5)
GOOD = st.sampled_from([Device(), Device(updates=12), Device(marked=False), Device(ends=0), Device(updates=0)])


@given(KEYS, GOOD, st.data())
def test_digits_survive_any_loss_that_leaves_one_packet_of_each(
    keys: list[int], device: Device, data: st.DataObject
) -> None:
    packets, size = device.press(keys), device.updates + device.ends
    kept: list[Sent] = []
    for n in range(len(keys)):
        left = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
        kept += [packets[n * size + i] for i in sorted(left)]
    assert digits_of(kept) == "".join(DIGITS[key] for key in keys)


@given(st.integers(0, 15), GOOD, st.data())
def test_reordered_duplicated_or_lost_packets_of_a_press_are_one_digit(
    key: int, device: Device, data: st.DataObject
) -> None:
    some = data.draw(st.lists(st.sampled_from(device.press([key])), min_size=1, unique=True))
    copies = data.draw(st.permutations(some + data.draw(st.lists(st.sampled_from(some), max_size=8))))
    assert digits_of([replace(packet, at=10 + n * 0.02) for n, packet in enumerate(copies)]) == DIGITS[key]


@given(st.lists(st.tuples(st.binary(max_size=5), st.integers(0, 2**32 - 1), st.integers(0, 65535), st.booleans())))
def test_any_packets_report_at_most_one_digit_each(packets: list[tuple[bytes, int, int, bool]]) -> None:
    receiver, digits = DigitReceiver(), ""
    for n, (payload, timestamp, sequence, marker) in enumerate(packets):
        packet = EventPacket(payload, RtpTime(timestamp), sequence, Ssrc(7), marker, Seconds(n * 0.01))
        digits += receiver.receive(packet) or ""
    assert len(digits + receiver.expire()) <= len(packets)


# ── SIP INFO ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("info", [-1.0, 0.0, 0.05, 0.08, 0.2, 1.5])
def test_a_key_by_events_and_by_info_is_one_digit_in_either_order(info: float) -> None:
    """`info`: seconds from the first event to the INFO."""
    receiver, digits = DigitReceiver(), ""
    happenings: list[tuple[float, Sent | None]] = [(packet.at, packet) for packet in Device().press([5])]
    for _, packet in sorted([*happenings, (10 + info, None)], key=lambda one: one[0]):
        digits += receive(receiver, packet) if packet else receiver.signalled("5", Seconds(10 + info))
    assert digits == "5"


def test_quick_presses_by_events_and_info_keep_their_number_in_any_order() -> None:
    packets = Device(updates=0, ends=1, pause=0.18).press([5, 5])
    for order in ("eeii", "eiei", "eiie", "iiee", "ieie", "ieei"):
        receiver, events, digits = DigitReceiver(), iter(packets), ""
        for way in order:
            digits += receive(receiver, next(events)) if way == "e" else receiver.signalled("5", Seconds(10.1))
        assert digits == "55", order


def test_a_long_press_is_one_digit_whether_info_comes_first_or_last() -> None:
    packets = Device(updates=400).press([7])
    receiver = DigitReceiver()
    assert receiver.signalled("7", Seconds(9.9)) == "7"
    assert digits_of(packets, receiver) == ""
    receiver = DigitReceiver()
    lazy = [packets[0], packets[-1]]
    assert digits_of(lazy, receiver) == "7", "after the timeout"
    assert receiver.signalled("7", Seconds(packets[-1].at + 0.1)) == ""


def test_keys_by_info_or_by_events_alone_are_reported() -> None:
    receiver = DigitReceiver()
    assert [receiver.signalled("5", Seconds(n * 0.1)) for n in range(3)] == ["5", "5", "5"]
    assert digits_of(Device().press([1, 1, 1])) == "111"


def test_events_and_info_are_paired_per_key_within_two_seconds() -> None:
    receiver = DigitReceiver()
    assert digits_of(Device().press([5], start=10), receiver) == "5"
    assert receiver.signalled("6", Seconds(10.2)) == "6"
    assert receiver.signalled("5", Seconds(10.12 + PAIRED + 0.1)) == "5"
    assert digits_of(Device().press([6], start=10.2 + PAIRED + 0.1), receiver) == "6"


def test_a_press_missing_from_info_does_not_suppress_the_next_one() -> None:
    receiver = DigitReceiver()
    first, second = (Device().press([5], start=start) for start in (10, 10.5))
    received = digits_of(first, receiver)  # its INFO is lost
    received += receiver.signalled("5", Seconds(10.5))
    assert received + digits_of(second, receiver) == "55"


def test_unpaired_keys_are_bounded() -> None:
    receiver = DigitReceiver()
    for n in range(5 * UNPAIRED_LIMIT):
        receiver.signalled("5", Seconds(10 + n * 0.001))
    assert len(receiver._unpaired) == UNPAIRED_LIMIT


def test_a_duration_that_overflows_in_one_packet_goes_on_with_the_press() -> None:
    held = [Sent(3, 8000, duration, n, 10 + n * 0.02) for n, duration in enumerate((160, 0xF000, 64))]
    assert digits_of([*held, Sent(3, 8000, 224, 3, 10.06, end=True)]) == "3"
    short = [Sent(3, 8000, duration, n, 10 + n * 0.02) for n, duration in enumerate((160, 0xEFFF, 64))]
    assert digits_of([*short, Sent(3, 8000, 224, 3, 10.06, end=True)]) == "33"
