"""Telephone events: one digit per key press, both ways."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import RtpTime, Seconds
from trunkline.media.dtmf import DIGITS, TIMEOUT, WAITING_LIMIT, DigitReceiver, DigitSender, TooManyDigits
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


# ── sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_grows_by_a_packet_time_and_ends_three_times() -> None:
    sender = DigitSender()
    sender.add("#")
    payloads = []
    while sender.work:
        payloads.append(sender.next_payload(20, 8))
        assert sender.fresh is (len(payloads) == 1)
    growing = [bytes([11, 10]) + (160 * n).to_bytes(2) for n in range(1, 8)]
    assert payloads == growing + [bytes([11, 0x8A]) + (1280).to_bytes(2)] * 3
    assert (sender.sent, sender.waiting) == (1, 0)


def test_its_shape_is_that_of_a_captured_key(capture: Capture) -> None:
    captured = [packet.payload for _, datagram in capture("dtmf_2833_5.pcap") if (packet := parse(datagram))]
    sender = DigitSender()
    sender.add("5")
    ours = []
    while sender.work:
        ours.append(sender.next_payload(20, 8))
    for payloads in (captured, ours):
        assert {len(payload) for payload in payloads} == {4}
        assert {payload[0] for payload in payloads} == {5}
        assert [payload[1] for payload in payloads] == [10] * 7 + [0x8A] * 3
        durations = [int.from_bytes(payload[2:]) for payload in payloads]
        assert durations == sorted(durations)
        assert len(set(durations[-3:])) == 1


@pytest.mark.parametrize(("ptime", "packets"), [(10, 16), (20, 8), (30, 6), (40, 4), (60, 3)])
@pytest.mark.parametrize("units", [8, 48])
def test_every_packet_time_gives_at_least_160_ms_and_a_pause_of_40(ptime: int, packets: int, units: int) -> None:
    sender = DigitSender()
    sender.add("1")
    payloads = []
    while sender.work:
        payloads.append(sender.next_payload(ptime, units))
    assert [int.from_bytes(payload[2:]) for payload in payloads[:packets]] == [
        ptime * units * n for n in range(1, packets + 1)
    ]
    assert packets * ptime >= 160
    assert (len(payloads) - packets) * ptime >= 40
    assert [payload[1] >> 7 for payload in payloads if payload] == [0] * (packets - 1) + [1] * 3


def test_more_digits_than_may_wait_are_refused_whole() -> None:
    sender = DigitSender()
    sender.add("1" * (WAITING_LIMIT - 1))
    with pytest.raises(TooManyDigits, match="64"):
        sender.add("23")
    assert sender.waiting == WAITING_LIMIT - 1
    sender.add("2")
    sender.next_payload(20, 8)
    sender.add("3")
    assert sender.waiting == WAITING_LIMIT


def test_a_key_let_go_is_not_finished_and_the_next_one_follows() -> None:
    sender = DigitSender()
    sender.add("12")
    sender.next_payload(20, 8)
    sender.release()
    assert sender.next_payload(20, 8)[0] == 2
    assert sender.fresh
    sender.release()
    assert not sender.work


def test_waits_among_the_digits_are_packets_that_are_not_sent() -> None:
    sender = DigitSender()
    sender.add("1wW2")
    payloads = []
    while sender.work:
        payloads.append(sender.next_payload(20, 8))
    assert [payload[0] for payload in payloads if payload] == [1] * 10 + [2] * 10
    assert payloads.count(b"") == (500 + 1000) // 20
    assert sender.sent == 2
