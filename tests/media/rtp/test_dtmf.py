"""Telephone events as we send them."""

from collections.abc import Callable

import pytest

from trunkline.media.rtp.dtmf import DigitSender, TooManyDigits
from trunkline.media.rtp.packet import parse

WAITING_LIMIT = 64

Capture = Callable[[str], list[tuple[float, bytes]]]


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


def test_a_key_has_the_packets_of_a_captured_one(capture: Capture) -> None:
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


def test_digits_over_the_limit_are_refused_as_a_whole() -> None:
    sender = DigitSender()
    sender.add("1" * (WAITING_LIMIT - 1))
    with pytest.raises(TooManyDigits, match="64"):
        sender.add("23")
    assert sender.waiting == WAITING_LIMIT - 1
    sender.add("2")
    sender.next_payload(20, 8)
    sender.add("3")
    assert sender.waiting == WAITING_LIMIT


def test_an_interrupted_key_is_not_finished_and_the_next_one_follows() -> None:
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
