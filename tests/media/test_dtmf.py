"""Telephone events: one digit per key press."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import RtpTime, Seconds
from trunkline.media.dtmf import DIGITS, TIMEOUT, DigitReceiver
from trunkline.media.rtp import parse

Capture = Callable[[str], list[tuple[float, bytes]]]
Event = tuple[int, int, bool, int]
"""Event, timestamp, end, duration."""


def press(event: int, timestamp: int, updates: int = 4) -> list[Event]:
    """A key press as RFC 4733 section 2.5.1 sends it: updates, then the end three times."""
    running = [(event, timestamp, False, 160 * (n + 1)) for n in range(updates)]
    return [*running, *[(event, timestamp, True, 160 * (updates + 1))] * 3]


def feed(receiver: DigitReceiver, events: list[Event]) -> str:
    digits = ""
    for n, (event, timestamp, end, duration) in enumerate(events):
        payload = bytes([event, 0x80 * end | 10]) + duration.to_bytes(2)
        ended = receiver.receive(payload, RtpTime(timestamp & 0xFFFFFFFF), Seconds(n * 0.02))
        assert ended is not None
        digits += ended
    return digits


@pytest.mark.parametrize(("event", "digit"), list(enumerate("0123456789*#ABCD")))
def test_a_press_is_one_digit_however_often_its_end_is_repeated(event: int, digit: str) -> None:
    assert feed(DigitReceiver(), press(event, 1000)) == digit


def test_the_digit_is_told_at_the_first_end_packet() -> None:
    receiver = DigitReceiver()
    assert feed(receiver, press(5, 1000)[:4]) == ""
    assert feed(receiver, press(5, 1000)[4:5]) == "5"
    assert receiver.deadline is None


def test_the_same_key_twice_is_two_digits() -> None:
    assert feed(DigitReceiver(), press(5, 1000) + press(5, 4000)) == "55"


def test_a_press_whose_end_is_lost_ends_when_the_next_begins() -> None:
    assert feed(DigitReceiver(), press(1, 1000)[:3] + press(2, 5000)) == "12"


def test_a_press_of_which_only_an_end_packet_arrives_counts() -> None:
    assert feed(DigitReceiver(), [press(7, 1000)[-1]]) == "7"


def test_a_press_that_falls_silent_ends_after_the_timeout_and_its_late_end_is_not_another() -> None:
    receiver = DigitReceiver()
    assert feed(receiver, press(9, 1000)[:1]) == ""
    assert receiver.deadline == TIMEOUT
    assert receiver.expire() == "9"
    assert receiver.deadline is None
    assert feed(receiver, press(9, 1000)[-3:]) == ""


def test_packets_of_a_press_before_the_present_one_are_ignored() -> None:
    receiver = DigitReceiver()
    assert feed(receiver, press(1, 1000)) == "1"
    assert feed(receiver, press(2, 5000)[:2]) == ""
    assert feed(receiver, press(1, 1000)[-1:]) == ""
    assert feed(receiver, press(2, 5000)[2:]) == "2"


def test_a_long_press_goes_on_in_a_new_segment() -> None:
    first = [(3, 1000, False, 160), (3, 1000, False, 0xFFFF)]
    assert feed(DigitReceiver(), first + press(3, 1000 + 0xFFFF)) == "3"


def test_timestamps_wrap() -> None:
    assert feed(DigitReceiver(), press(1, 2**32 - 400) + press(2, 2**32 + 4000)) == "12"


def test_events_that_are_no_digits_are_silent_but_end_the_one_before() -> None:
    assert feed(DigitReceiver(), press(4, 1000)[:2] + press(16, 3000)) == "4"


def test_a_short_payload_is_malformed() -> None:
    assert DigitReceiver().receive(b"\x01\x80\x00", RtpTime(0), Seconds(0)) is None


@given(st.lists(st.integers(0, 15), max_size=6), st.data())
def test_digits_survive_any_loss_that_leaves_one_packet_of_each(keys: list[int], data: st.DataObject) -> None:
    events: list[Event] = []
    for n, key in enumerate(keys):
        sent = press(key, 10_000 * n)
        kept = data.draw(st.sets(st.integers(0, len(sent) - 1), min_size=1))
        events += [sent[i] for i in sorted(kept)]
    receiver = DigitReceiver()
    assert feed(receiver, events) + receiver.expire() == "".join(DIGITS[key] for key in keys)


@pytest.mark.parametrize(
    ("name", "digit"),
    [*zip("0123456789", "0123456789", strict=True), ("star", "*"), ("pound", "#")],
)
def test_captured_key_presses_are_one_digit_each(capture: Capture, name: str, digit: str) -> None:
    receiver = DigitReceiver()
    heard = ""
    for at, datagram in capture(f"dtmf_2833_{name}.pcap"):
        packet = parse(datagram)
        assert packet is not None
        heard += receiver.receive(packet.payload, packet.timestamp, Seconds(at)) or ""
    assert heard == digit
