"""Which source address a leg accepts as its peer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import PayloadType, RtpTime, Seconds, Ssrc
from trunkline.media.rtp.jitter import MAX_MISORDER
from trunkline.media.rtp.packet import HEADER_LENGTH, RtpPacket, build
from trunkline.media.rtp.source import Address, Source, SourceDecision, address_of
from trunkline.sdp.values import Endpoint

CANDIDATES = 2
GRACE = Seconds(0.5)
IN_SEQUENCE = 4
KEPT = Seconds(1.0)
KEPT_PACKETS = 150
PROBATION = Seconds(5.0)
REOPENED = Seconds(2.0)
REST = Seconds(1.0)
TAKEOVER = Seconds(2.0)

SIGNALLED = ("192.0.2.1", 4000)
NATTED = ("198.51.100.7", 61234)
UNEXPECTED = ("203.0.113.9", 5555)
THIRD = ("203.0.113.77", 7777)
TAKE, KEEP, REFUSE = SourceDecision.TAKE, SourceDecision.KEEP, SourceDecision.REFUSE


def rtp(payload: bytes, sequence: int, timestamp: int, ssrc: int) -> bytes:
    return build(RtpPacket(PayloadType(0), False, sequence & 0xFFFF, RtpTime(timestamp), Ssrc(ssrc), payload))


class Peer:
    """A source, the time of its last accepted packet, and the payloads delivered."""

    def __init__(self, signalled: Address | None = SIGNALLED, *, strict: bool = False, answered: bool = True) -> None:
        endpoint = Endpoint(*signalled) if signalled else Endpoint("0.0.0.0", 0)
        self.source = Source(endpoint, strict=strict, answered=answered)
        self.heard: Seconds | None = None
        self.delivered: list[bytes] = []
        self._sent: dict[Address, int] = {}

    def send(
        self, address: Address, now: float, payload: bytes = b"", *, continues: bool = False, proven: bool = False
    ) -> SourceDecision:
        """The next packet of this address's stream."""
        sent = self._sent[address] = self._sent.get(address, 65_533) + 1
        return self.send_packet(address, now, rtp(payload, sent, sent * 160, address[1]), continues, proven)

    def send_packet(
        self, address: Address, now: float, packet: bytes, continues: bool = False, proven: bool = False
    ) -> SourceDecision:
        learned = self.source.learned
        verdict = self.source.admit(address, packet, Seconds(now), self.heard, continues=continues, proven=proven)
        if self.source.learned != learned:
            self._deliver([packet for _, packet in self.source.accepted()])
        if verdict is TAKE:
            self.heard = Seconds(now)
            self._deliver([packet])
        return verdict

    def _deliver(self, packets: list[bytes]) -> None:
        self.delivered += [packet[HEADER_LENGTH:] for packet in packets]

    def wait(self, now: float) -> bool:
        """As the leg's timer does."""
        if not self.source.decide(Seconds(now), self.heard):
            return False
        kept = self.source.accepted()
        self._deliver([packet for _, packet in kept])
        self.heard = kept[-1][0] if kept else self.heard
        return True

    def signal(self, address: Address, now: float, *, early: bool = False) -> bool:
        return self.source.signal(Endpoint(*address), Seconds(now), early=early)

    def answer(self, address: Address, now: float, *, early: bool = False) -> None:
        """The final answer, or an early one."""
        self.signal(address, now, early=early)
        for at, source, packet in self.source.take_early():
            self.send(source, at, packet)


def talks(peer: Peer, address: Address, start: float, end: float) -> None:
    """A packet every 20 ms; the timer is served after each."""
    for n in range(round(start * 50), round(end * 50)):
        peer.send(address, n / 50, b"%d" % n)
        peer.wait(n / 50)


def row(peer: Peer, address: Address, now: float, payload: bytes = b"") -> None:
    """Packets at once, as many as end a trial."""
    for _ in range(IN_SEQUENCE):
        peer.send(address, now, payload)


def test_until_a_packet_arrives_the_destination_is_the_signalled_address() -> None:
    assert Peer().source.destination == SIGNALLED


def test_the_signalled_address_is_accepted_at_once() -> None:
    peer = Peer()
    assert peer.send(SIGNALLED, 0) is TAKE
    assert peer.source.latched
    assert peer.send(UNEXPECTED, 0) is REFUSE


def test_another_source_is_accepted_after_a_trial_and_latched_after_probation() -> None:
    peer = Peer()
    for n in range(IN_SEQUENCE):
        assert peer.send(NATTED, n / 50, b"%d" % n) is KEEP
    assert (peer.source.destination, peer.delivered) == (SIGNALLED, [])
    assert not peer.wait(GRACE - 0.01)
    assert peer.wait(GRACE)
    assert (peer.source.destination, peer.delivered) == (NATTED, [b"0", b"1", b"2", b"3"])
    talks(peer, NATTED, GRACE, GRACE + PROBATION - 0.02)
    assert not peer.source.latched
    assert peer.send(NATTED, GRACE + PROBATION) is TAKE
    assert peer.source.latched
    assert peer.send(SIGNALLED, GRACE + PROBATION + 0.02) is REFUSE


@pytest.mark.parametrize(
    "packets",
    [
        [(0, 0, 1), (1, 160, 1), (2, 320, 1)],
        [(0, 0, 1), (2, 320, 1), (4, 640, 1), (6, 960, 1), (8, 1280, 1)],
        [(0, 0, 1), (1, 160, 1), (2, 320, 2), (3, 480, 2), (4, 640, 2)],
        [(0, 0, 1), (1, 80_000, 1), (2, 160_000, 1), (3, 240_000, 1)],
        [(3, 480, 1), (2, 320, 1), (1, 160, 1), (0, 0, 1)],
        [(0, 0, 1)] * 9,
        [(0, 0, 1), (1, 160, 1), (9000, 320, 1), (9001, 480, 1), (9002, 640, 1)],
    ],
    ids=["too few", "gaps", "two SSRCs", "clock", "backwards", "repeated", "a jump"],
)
def test_packets_that_are_not_in_a_row_end_no_trial(packets: list[tuple[int, int, int]]) -> None:
    peer = Peer()
    for n, (sequence, timestamp, ssrc) in enumerate(packets):
        peer.send_packet(NATTED, n / 50, rtp(b"", sequence, timestamp, ssrc))
    assert not peer.wait(60)
    assert peer.source.learned is None


@pytest.mark.parametrize(
    "packets",
    [
        [(65_534, 2**32 - 320, 1), (65_535, 2**32 - 160, 1), (0, 0, 1), (1, 160, 1)],
        [(0, 0, 1), (0, 0, 1), (1, 160, 1), (1, 160, 1), (2, 320, 1), (3, 480, 1)],
        [(0, 0, 1), (2, 320, 1), (1, 160, 1), (3, 480, 1), (4, 640, 1), (5, 800, 1)],
        [(0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1)],
        [(0, 0, 1), (1, 160, 1), (2, 320, 1), (4, 640, 1), (5, 800, 1), (6, 960, 1), (7, 1120, 1)],
        [(0, 0, 1), (1, 2880, 1), (2, 5760, 1), (3, 8640, 1)],
    ],
    ids=["wrap", "each twice", "out of order", "a key", "a loss", "60 ms at 48 kHz"],
)
def test_packets_in_a_row_are_recognised_on_any_network(packets: list[tuple[int, int, int]]) -> None:
    peer = Peer()
    for n, (sequence, timestamp, ssrc) in enumerate(packets):
        peer.send_packet(NATTED, n / 50, rtp(b"%d" % n, sequence, timestamp, ssrc))
    assert peer.wait(GRACE)
    assert peer.delivered == [b"%d" % n for n in range(len(packets))]


def test_a_timestamp_may_advance_as_much_as_a_pause_took() -> None:
    peer = Peer()
    for n, at in enumerate([0, 3, 3.02, 7]):
        peer.send_packet(NATTED, at, rtp(b"", n, round(at * 8000), 1))
    assert peer.wait(7)


@pytest.mark.parametrize("packets", [1, 2, 3])
@pytest.mark.parametrize("signalled", [SIGNALLED, ("192.168.1.20", 4000), ("0.0.0.0", 4000)])
def test_a_sweep_over_our_ports_takes_nothing(signalled: Address, packets: int) -> None:
    """A datagram to each port, a few times over, before the peer sends."""
    attacker = ("8.8.8.8", 5555)
    peer = Peer(signalled)
    for n in range(packets):
        peer.send(attacker, n, b"attacker")
        assert not peer.wait(n + 0.9)
    assert peer.source.destination == (None if signalled[0] == "0.0.0.0" else signalled)
    talks(peer, NATTED, 3, 5)
    assert peer.delivered == [b"%d" % n for n in range(150, 250)]


def test_the_signalled_address_takes_over_from_an_accepted_source_at_once() -> None:
    peer = Peer()
    talks(peer, UNEXPECTED, 0, 1)
    assert peer.source.destination == UNEXPECTED
    peer.delivered.clear()
    assert peer.send(SIGNALLED, 1, b"peer") is TAKE
    assert (peer.source.destination, peer.source.unexpected_source) == (SIGNALLED, UNEXPECTED)
    for n in range(50, 200):
        assert peer.send(UNEXPECTED, n / 50) is not TAKE
        assert peer.send(SIGNALLED, n / 50 + 0.01) is TAKE
    assert (peer.source.latched, peer.delivered) == (True, [b"peer"] + [b""] * 150)


def test_who_lost_to_the_signalled_address_is_not_heard_in_its_pauses() -> None:
    peer = Peer()
    talks(peer, UNEXPECTED, 0, 1)
    peer.delivered.clear()
    for n in range(50, 50 + IN_SEQUENCE + 1):
        peer.send(SIGNALLED, n / 50, b"peer")
    assert peer.source.latched
    for n in range(60, 500):
        assert peer.send(UNEXPECTED, n / 50) is REFUSE
        assert not peer.wait(n / 50)
    assert peer.delivered == [b"peer"] * (IN_SEQUENCE + 1)


@pytest.mark.parametrize("strays", [1, 2, 3])
def test_stray_packets_of_the_signalled_address_cost_a_peer_elsewhere_nothing(strays: int) -> None:
    peer = Peer()
    talks(peer, NATTED, 0, 10)
    peer.source.look(Seconds(10))
    for _ in range(strays):
        assert peer.send(SIGNALLED, 10, b"stray") is TAKE
    peer.delivered.clear()
    talks(peer, NATTED, 10.02, 20)
    assert peer.delivered == [b"%d" % n for n in range(501, 1000)]
    assert (peer.source.destination, peer.source.latched) == (NATTED, True)


def test_a_look_lets_the_signalled_address_in_and_no_other() -> None:
    peer = Peer()
    talks(peer, UNEXPECTED, 0, 6)
    assert peer.source.latched
    peer.source.look(Seconds(6))
    assert not peer.source.latched
    assert peer.send(NATTED, 6.01) is REFUSE
    assert peer.send(UNEXPECTED, 6.02) is TAKE
    assert not peer.source.latched
    assert peer.send(UNEXPECTED, 6.1) is TAKE
    assert peer.source.latched
    peer.source.look(Seconds(7))
    assert peer.send(SIGNALLED, 7.02) is TAKE
    assert peer.source.destination == SIGNALLED


def test_a_look_shortens_no_probation_and_neither_does_a_refresh() -> None:
    peer = Peer()
    talks(peer, NATTED, 0, 1)
    peer.source.look(Seconds(1))
    peer.signal(SIGNALLED, 1.1)
    talks(peer, NATTED, 1.2, GRACE + PROBATION - 0.02)
    assert not peer.source.latched


def test_packets_that_are_held_for_a_listener_count_as_heard() -> None:
    peer = latched()
    peer.signal(SIGNALLED, 1)
    for n in range(50, 150):
        assert peer.source.admit(NATTED, rtp(b"", n, n * 160, 1), Seconds(n / 50), Seconds(0.9)) is TAKE
        peer.source.admit(UNEXPECTED, rtp(b"", n, n * 160, 2), Seconds(n / 50), Seconds(0.9))
        assert not peer.source.decide(Seconds(n / 50), Seconds(0.9))


def test_packets_kept_of_an_accepted_source_count_as_heard() -> None:
    peer = Peer()
    talks(peer, NATTED, -0.1, 0.38)
    peer.send(NATTED, 0.39)  # the last of 25
    assert peer.source.decide(Seconds(0.4), None)
    peer.source.accepted()  # and held
    for n in range(50):
        peer.source.admit(UNEXPECTED, rtp(b"", n, n * 160, 2), Seconds(0.4 + n / 50), None)
    assert not peer.source.decide(Seconds(2), None)
    assert peer.source.decide(Seconds(3), None)


@pytest.mark.parametrize("signalled", [SIGNALLED, ("0.0.0.0", 4000)], ids=["its own", "none"])
def test_a_look_changes_nothing_where_no_other_address_was_signalled(signalled: Address) -> None:
    peer = Peer(signalled)
    talks(peer, SIGNALLED, 0, 6)
    assert peer.source.latched
    peer.source.look(Seconds(6))
    assert peer.source.latched


def test_in_probation_the_peer_follows_a_silent_source_and_loses_no_packet() -> None:
    peer = Peer()
    row(peer, UNEXPECTED, 0)
    assert peer.wait(GRACE)
    peer.delivered.clear()
    talks(peer, NATTED, 0.6, 3)
    assert peer.delivered == [b"%d" % n for n in range(30, 150)]
    assert peer.source.destination == NATTED


def test_the_signalled_address_ends_the_trial_of_an_unexpected_source() -> None:
    peer = Peer()
    peer.send(UNEXPECTED, 0, b"unexpected")
    assert peer.send(SIGNALLED, 0.1, b"peer") is TAKE
    assert (peer.delivered, peer.source.latched) == ([b"peer"], True)
    assert (peer.source.refused, peer.source.unexpected_source) == (1, UNEXPECTED)


def test_in_probation_a_pause_of_the_peer_lets_no_other_source_in() -> None:
    peer = Peer()
    talks(peer, NATTED, 0, 1)
    for n in range(50, 170):
        peer.send(UNEXPECTED, n / 50)
        assert not peer.wait(n / 50)
    assert peer.send(NATTED, 3.4) is TAKE


def test_in_probation_the_peers_own_stream_may_move_in_spite_of_two_others() -> None:
    peer = Peer()
    talks(peer, NATTED, 0, 1)
    peer.delivered.clear()
    for n in range(50, 100):
        peer.send(UNEXPECTED, n / 50)
        peer.send((UNEXPECTED[0], 6666), n / 50)
        peer.send(THIRD, n / 50, b"%d" % n, continues=True)
        peer.wait(n / 50)
    assert peer.delivered == [b"%d" % n for n in range(50, 100)]
    assert peer.source.destination == THIRD


@pytest.mark.parametrize(
    ("signalled", "source", "at_once"),
    [
        (("192.168.1.20", 4000), ("8.8.8.8", 4000), True),
        (("10.0.0.7", 4000), ("2001:4860:4860::8888", 4000), True),
        (("100.64.0.7", 4000), ("8.8.8.8", 4000), True),
        (("0.0.0.0", 4000), ("192.168.1.21", 4000), True),
        (("192.168.1.20", 4000), ("192.168.1.21", 4000), False),
        (("9.9.9.9", 4000), ("8.8.8.8", 4000), False),
        (("9.9.9.9", 4000), ("192.168.1.21", 4000), False),
    ],
)
def test_four_packets_suffice_if_no_better_source_can_exist(signalled: Address, source: Address, at_once: bool) -> None:
    peer = Peer(signalled)
    for n in range(IN_SEQUENCE):
        assert not peer.wait(n / 50)
        assert peer.send(source, n / 50, b"%d" % n) is KEEP
    assert peer.wait(0.06) is at_once
    assert peer.delivered == ([b"0", b"1", b"2", b"3"] if at_once else [])
    if signalled[0] != "0.0.0.0":
        assert peer.send(signalled, 0.1) is TAKE
        assert peer.source.destination == signalled


@pytest.mark.parametrize("signalled", [SIGNALLED, ("192.168.1.20", 4000)])
def test_a_packet_with_the_srtp_key_needs_no_trial(signalled: Address) -> None:
    peer = Peer(signalled)
    assert peer.send(NATTED, 0, b"peer", proven=True) is TAKE
    assert (peer.source.destination, peer.delivered) == (NATTED, [b"peer"])
    assert peer.send(signalled, 0.1, proven=True) is TAKE
    assert peer.source.destination == signalled


def test_with_the_srtp_key_a_new_stream_may_start_elsewhere_after_silence() -> None:
    peer = latched()
    assert peer.send(THIRD, 0.98 + TAKEOVER - 0.1, b"0", proven=True) is KEEP
    assert peer.send(THIRD, 0.98 + TAKEOVER, b"1", proven=True) is TAKE
    assert (peer.source.destination, peer.delivered) == (THIRD, [b"0", b"1"])


def test_a_packet_with_the_srtp_key_ends_no_audio_that_goes_on() -> None:
    peer = latched()
    peer.signal(SIGNALLED, 1)
    for n in range(50, 100):
        assert peer.send(NATTED, n / 50, proven=True) is TAKE
        assert peer.send(THIRD, n / 50, proven=True) is KEEP


def test_early_media_with_the_srtp_key_is_kept_until_the_answer() -> None:
    peer = Peer(None)
    peer.answer(SIGNALLED, 0, early=True)
    assert peer.send(NATTED, 0.1, proven=True) is TAKE
    assert peer.send(THIRD, 3, proven=True) is KEEP


def test_the_former_source_is_on_trial_although_it_has_the_srtp_key() -> None:
    peer = latched()
    peer.signal(("192.0.2.2", 4002), 10)
    assert peer.send(NATTED, 10.02, proven=True) is KEEP
    assert peer.send(THIRD, 10.04, proven=True) is TAKE


# ---------------------------------------------------------------------- strict


@pytest.mark.parametrize("source", [NATTED, (SIGNALLED[0], 4002), ("8.8.8.8", 4000)])
@pytest.mark.parametrize("signalled", [SIGNALLED, ("192.168.1.20", 4000), ("0.0.0.0", 4000)])
def test_strict_never_accepts_another_source_than_the_signalled(signalled: Address, source: Address) -> None:
    peer = Peer(signalled, strict=True)
    for n in range(500):
        assert peer.send(source, n / 50, continues=True, proven=True) is REFUSE
        assert not peer.wait(n / 50)
    assert (peer.source.refused, peer.source.learned) == (500, None)


def test_strict_follows_signalling_only() -> None:
    peer = Peer(strict=True)
    talks(peer, SIGNALLED, 0, 1)
    assert peer.source.latched
    assert peer.send(NATTED, 5, continues=True) is REFUSE
    peer.signal(THIRD, 6)
    assert peer.send(SIGNALLED, 6.02) is REFUSE
    assert peer.send(THIRD, 6.04) is TAKE
    assert (peer.source.destination, peer.source.latched) == (THIRD, True)


def test_strict_before_the_answer_keeps_packets_and_hears_the_signalled_ones() -> None:
    peer = Peer(None, strict=True)
    for n in range(10):
        peer.source.keep_early(SIGNALLED, b"%d" % n, Seconds(n / 50))
        peer.source.keep_early(UNEXPECTED, b"no", Seconds(n / 50))
    peer.answer(SIGNALLED, 0.2)
    assert (peer.delivered, peer.source.refused) == ([b"%d" % n for n in range(10)], 10)


# ---------------------------------------------------------------------- a caller


def test_before_a_callers_ack_only_its_signalled_address_is_learned() -> None:
    peer = Peer(("192.168.1.20", 4000), answered=False)
    public = ("8.8.8.8", 4000)
    for n in range(20):
        assert peer.source.is_early(public)
        peer.source.keep_early(public, rtp(b"%d" % n, n, n * 160, 1), Seconds(n / 50))
        assert not peer.wait(n / 50)
    assert not peer.source.is_early(("192.168.1.20", 4000))
    peer.source.confirm(Seconds(0.4))
    for at, source, packet in peer.source.take_early():
        peer.send_packet(source, at, packet)
    assert peer.wait(0.4)
    assert (peer.source.destination, peer.delivered) == (public, [b"%d" % n for n in range(20)])


def test_packets_long_before_a_callers_ack_are_dropped() -> None:
    peer = Peer(answered=False)
    peer.source.keep_early(NATTED, b"long ago", Seconds(0))
    peer.source.confirm(Seconds(5))
    assert (peer.source.take_early(), peer.source.dropped) == ([], 1)


def test_a_caller_that_names_its_address_later_is_awaited_until_both_have_come() -> None:
    source = Source(Endpoint("0.0.0.0", 0), answered=False)
    source.confirm(Seconds(1))
    assert source.awaiting
    source.signal(Endpoint(*SIGNALLED), Seconds(2))
    assert not source.awaiting


# ---------------------------------------------------------------------- two and more sources


def test_of_two_on_trial_the_signalled_host_is_accepted_and_the_other_counted() -> None:
    peer = Peer()
    other_port = (SIGNALLED[0], 4444)
    row(peer, UNEXPECTED, 0, b"unexpected")
    row(peer, other_port, 0.2, b"peer")
    assert not peer.wait(0.2 + GRACE - 0.01)
    assert peer.wait(0.2 + GRACE)
    assert (peer.source.learned, peer.delivered, peer.source.refused) == (other_port, [b"peer"] * 4, 4)


def test_of_two_equal_sources_the_first_is_accepted() -> None:
    peer = Peer()
    row(peer, NATTED, 0, b"first")
    row(peer, UNEXPECTED, 0.1, b"second")
    assert peer.wait(GRACE)
    assert (peer.source.learned, peer.delivered) == (NATTED, [b"first"] * 4)


EARLY = rtp(b"", 0, 0, 1)


def test_a_third_source_is_refused_until_another_is_silent() -> None:
    peer = Peer(None)
    peer.source.keep_early(NATTED, EARLY, Seconds(0))
    peer.source.keep_early(UNEXPECTED, EARLY, Seconds(0.9))
    peer.source.keep_early(THIRD, EARLY, Seconds(0.9))
    assert (CANDIDATES, peer.source.refused, peer.source.unexpected_source) == (2, 1, THIRD)
    peer.source.keep_early(THIRD, EARLY, Seconds(1.1))
    assert (peer.source.refused, peer.source.unexpected_source) == (2, NATTED)
    peer.answer(THIRD, 1.2)
    assert peer.source.learned == THIRD


def test_a_source_with_enough_packets_in_a_row_keeps_its_place() -> None:
    peer = Peer()
    row(peer, NATTED, 0)
    row(peer, UNEXPECTED, 0)
    assert peer.send(THIRD, 0.4) is REFUSE


def test_of_streams_that_continue_the_first_two_are_on_trial() -> None:
    peer = Peer()
    for address, decision in ((NATTED, KEEP), (UNEXPECTED, KEEP), (THIRD, REFUSE)):
        assert peer.send(address, 0, continues=True) is decision


def test_of_a_trial_without_an_end_the_last_two_seconds_are_kept() -> None:
    peer = Peer()
    for n in range(40):
        peer.send_packet(NATTED, n / 4, rtp(b"", 2 * n, 0, 1))
    assert peer.source.dropped == 40 - 9


def test_sources_of_single_packets_make_room_for_the_peer() -> None:
    peer = Peer()
    peer.send(UNEXPECTED, 0)
    peer.send(THIRD, 0)
    talks(peer, NATTED, 0.02, 2)
    assert peer.source.destination == NATTED
    assert peer.delivered == [b"%d" % n for n in range(11, 100)]


# ---------------------------------------------------------------------- before the answer


def test_packets_before_the_answer_are_kept_and_then_decided() -> None:
    peer = Peer(None)
    for n in range(5):
        peer.source.keep_early(NATTED, b"%d" % n, Seconds(n / 50))
    assert (peer.source.destination, peer.delivered) == (None, [])
    peer.answer(SIGNALLED, 0.1)
    assert (peer.source.destination, peer.delivered) == (SIGNALLED, [])
    talks(peer, NATTED, 0.1, 1)
    assert peer.delivered == [b"%d" % n for n in range(50)]
    assert peer.source.learned == NATTED


def test_the_address_in_the_answer_is_accepted_from_its_first_packet() -> None:
    peer = Peer(None)
    peer.source.keep_early(UNEXPECTED, b"unexpected", Seconds(0))
    peer.source.keep_early(SIGNALLED, b"peer", Seconds(0.1))
    peer.answer(SIGNALLED, 0.2)
    assert (peer.delivered, peer.source.refused) == ([b"peer"], 1)


def test_the_last_second_before_the_answer_is_kept_and_the_rest_counted() -> None:
    peer = Peer(None)
    for n in range(150):
        peer.source.keep_early(NATTED, b"%d" % n, Seconds(n / 50))
    assert peer.source.dropped == 150 - 51
    peer.answer(SIGNALLED, 3)
    talks(peer, NATTED, 3, 4)
    assert peer.delivered == [b"%d" % n for n in range(100, 200)]
    assert peer.source.dropped == 100


def test_packets_long_before_the_answer_are_dropped() -> None:
    peer = Peer(None)
    peer.source.keep_early(SIGNALLED, b"long ago", Seconds(0))
    peer.answer(SIGNALLED, 5)
    peer.send(SIGNALLED, 5.02, b"now")
    assert (peer.delivered, peer.source.dropped) == ([b"now"], 1)


def test_packets_before_the_answer_are_bounded() -> None:
    peer = Peer(None)
    for n in range(10_000):
        peer.source.keep_early(NATTED, b"", Seconds(n / 100_000))
    assert peer.source.dropped == 10_000 - KEPT_PACKETS
    peer.source.close()
    assert peer.source.dropped == 10_000


ANNOUNCEMENT = ("192.0.2.50", 4050)


@pytest.mark.parametrize("address", [SIGNALLED, NATTED], ids=["its own", "another"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "behind a NAT too"])
def test_callee_audio_during_other_early_media_is_kept_for_the_answer(address: Address, named: bool) -> None:
    peer = Peer(None)
    peer.answer(ANNOUNCEMENT if named else ("192.0.2.99", 9), 0, early=True)
    talks(peer, ANNOUNCEMENT, 0, 3)
    assert (peer.source.learned, peer.source.latched) == (ANNOUNCEMENT, False)
    for n in range(145, 155):
        peer.send(address, n / 50, b"%d" % n)
    peer.delivered.clear()
    peer.answer(SIGNALLED, 3.1)
    talks(peer, address, 3.1, 9)
    assert peer.delivered == [b"%d" % n for n in range(145, 450)]
    assert (peer.source.learned, peer.source.latched) == (address, True)


def test_a_trial_before_the_final_answer_continues_after_it() -> None:
    peer = Peer(None)
    peer.answer(ANNOUNCEMENT, 0, early=True)
    talks(peer, ANNOUNCEMENT, 0, 2)
    peer.send(UNEXPECTED, 2, b"unexpected")
    peer.delivered.clear()
    peer.answer(SIGNALLED, 2.6)
    assert not peer.wait(2.6 + GRACE - 0.01)
    peer.send(SIGNALLED, 3, b"callee")
    assert peer.delivered == [b"callee"]


def test_no_other_source_replaces_early_media_that_pauses() -> None:
    peer = Peer(None)
    peer.answer(ANNOUNCEMENT, 0, early=True)
    peer.send(ANNOUNCEMENT, 0)
    peer.signal(ANNOUNCEMENT, 0, early=True)
    talks(peer, ANNOUNCEMENT, 0, 1)
    talks(peer, NATTED, 2, 4)
    assert peer.source.learned == ANNOUNCEMENT
    peer.answer(ANNOUNCEMENT, 4)
    talks(peer, ANNOUNCEMENT, 4, 7)
    assert peer.source.latched
    assert peer.source.refused + peer.source.dropped == 100


# ---------------------------------------------------------------------- signalling


def latched(address: Address = NATTED, *, strict: bool = False) -> Peer:
    """A peer that was received until one second, for longer than a probation."""
    peer = Peer(strict=strict)
    talks(peer, address, -PROBATION - 1, 1)
    assert (peer.source.latched, peer.source.learned) == (True, address)
    peer.delivered.clear()
    return peer


def test_a_changed_address_reopens_learning_with_a_longer_trial_of_the_old_one() -> None:
    peer = latched()
    assert peer.signal(("192.0.2.2", 4002), 10)
    assert (peer.source.latched, peer.source.destination) == (False, ("192.0.2.2", 4002))
    assert peer.send(NATTED, 10.02, b"former") is KEEP
    row(peer, THIRD, 10.3, b"new")
    assert peer.wait(10.3 + GRACE)
    assert (peer.source.learned, peer.delivered, peer.source.refused) == (THIRD, [b"new"] * 4, 1)


def test_a_former_source_is_not_taken_while_another_is_on_trial() -> None:
    peer = latched()
    peer.signal(("192.0.2.2", 4002), 10)
    row(peer, NATTED, 10, b"former")
    assert not peer.wait(10 + REST - 0.01)
    row(peer, THIRD, 10 + REST - 0.01, b"new")
    assert not peer.wait(10 + REST)
    assert peer.wait(10 + REST + GRACE)
    assert peer.delivered == [b"new"] * 4


def test_a_former_source_that_is_still_the_peer_loses_no_packet() -> None:
    peer = latched()
    peer.signal(("192.0.2.2", 4002), 10)
    talks(peer, NATTED, 10, 12)
    assert peer.delivered == [b"%d" % n for n in range(500, 600)]
    assert REST <= KEPT


def test_the_signalled_address_is_accepted_when_the_learned_source_is_silent() -> None:
    peer = latched()
    there = ("192.0.2.2", 4002)
    peer.signal(there, 10)
    talks(peer, NATTED, 10, 17)
    assert (peer.source.learned, peer.source.latched) == (NATTED, True)
    assert peer.send(there, 17) is REFUSE
    assert peer.send(there, 17 + TAKEOVER) is TAKE


def test_a_change_to_the_learned_source_confirms_it() -> None:
    peer = latched()
    assert not peer.signal(NATTED, 2)
    assert peer.source.latched


def test_a_change_that_is_taken_back_leaves_the_source_as_it_was() -> None:
    peer = latched()
    peer.signal(("192.0.2.2", 4002), 10)
    peer.send(NATTED, 10.1, b"meanwhile")
    assert not peer.signal(SIGNALLED, 10.2)
    assert peer.source.destination == NATTED
    assert peer.send(NATTED, 10.21, b"after") is TAKE


SAME = [SIGNALLED, ("0.0.0.0", 4000), ("192.0.2.1", 0)]


@pytest.mark.parametrize("same", SAME)
def test_the_same_address_or_none_keeps_the_learned_source(same: Address) -> None:
    peer = latched()
    assert not peer.signal(same, 2)
    assert peer.source.destination == NATTED
    talks(peer, NATTED, 2, 2 + REOPENED + 0.1)
    assert len(peer.delivered) == 105
    assert peer.source.latched


@pytest.mark.parametrize("same", SAME)
def test_after_signalling_another_source_may_replace_a_silent_one(same: Address) -> None:
    peer = latched()
    peer.signal(same, 2)
    talks(peer, NATTED, 2, 2.1)  # on their way while it moved
    talks(peer, THIRD, 2.2, 4)
    assert peer.source.learned == THIRD
    assert peer.delivered == [b"%d" % n for n in [*range(100, 105), *range(110, 200)]]


@pytest.mark.parametrize("same", SAME)
def test_after_signalling_no_source_replaces_one_that_continues(same: Address) -> None:
    peer = latched()
    peer.signal(same, 2)
    for n in range(100, 250):
        peer.send(NATTED, n / 50, b"peer")
        assert peer.send(UNEXPECTED, n / 50 + 0.01) is not TAKE
        assert not peer.wait(n / 50 + 0.01)
    assert set(peer.delivered) == {b"peer"}
    assert (peer.source.latched, peer.source.refused + peer.source.dropped) == (True, 150)


def test_after_signalling_the_same_stream_is_preferred_to_an_unexpected_source() -> None:
    peer = latched()
    peer.signal(SIGNALLED, 10)
    row(peer, UNEXPECTED, 10, b"unexpected")
    for _ in range(IN_SEQUENCE):
        peer.send(THIRD, 10.3, b"goes on", continues=True)
    assert not peer.wait(10 + GRACE)
    assert peer.wait(10.3 + GRACE)
    assert (peer.source.learned, peer.delivered) == (THIRD, [b"goes on"] * 4)


# ---------------------------------------------------------------------- without signalling


def test_a_stream_that_moves_is_accepted_after_two_seconds_of_silence() -> None:
    peer = latched()  # last received at 0.98
    for n in range(100, 150):
        peer.send(THIRD, n / 50, b"%d" % n, continues=True)
    assert peer.source.learned == THIRD
    assert peer.delivered == [b"%d" % n for n in range(100, 150)]
    assert peer.source.latched


@pytest.mark.parametrize(
    ("strict", "continues", "silent"),
    [(False, True, TAKEOVER - 0.03), (False, False, 60), (True, True, 60)],
    ids=["too short a silence", "another stream", "forbidden"],
)
def test_other_sources_without_signalling_are_refused(strict: bool, continues: bool, silent: float) -> None:
    address = SIGNALLED if strict else NATTED
    peer = latched(address, strict=strict)
    assert peer.send(THIRD, 1 + silent, b"no", continues=continues) is not TAKE
    assert peer.source.learned == address
    assert peer.send(address, 1 + silent + 0.02, b"peer") is TAKE
    assert (peer.delivered, peer.source.refused, peer.source.latched) == ([b"peer"], 1, True)


# ---------------------------------------------------------------------- any steps

Step = tuple[str, Address, bool, float]

_ADDRESSES = st.sampled_from([SIGNALLED, NATTED, UNEXPECTED, THIRD])
_NONE = st.sampled_from([("0.0.0.0", 0), ("0.0.0.0", 9)])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), _ADDRESSES, st.booleans(), st.just(0.0)),
        st.tuples(st.just("signal"), _ADDRESSES | _NONE, st.booleans(), st.just(0.0)),
        st.tuples(st.just("wait"), _ADDRESSES, st.just(False), st.floats(0, 3)),
    ),
    max_size=60,
)


@given(steps=_STEPS, answered=st.booleans(), strict=st.booleans(), calls=st.booleans())
def test_every_packet_is_delivered_in_order_or_counted(
    steps: list[Step], answered: bool, strict: bool, calls: bool
) -> None:
    """`calls`: the peer is the caller, and acknowledges when it first signals."""
    peer, now, sent = Peer(SIGNALLED if answered or calls else None, strict=strict, answered=not calls), 0.0, 0
    for what, address, continues, pause in steps:
        now += 0.02
        if what == "wait":
            now += pause
            peer.wait(now)
            peer.source.look(Seconds(now))
        elif what == "signal":
            peer.source.confirm(Seconds(now))
            peer.answer(address, now, early=continues)
        elif peer.source.is_early(address):
            sent += 1
            peer.source.keep_early(address, b"%d" % sent, Seconds(now))
        else:
            sent += 1
            peer.send(address, now, b"%d" % sent, continues=continues, proven=continues)
            peer.wait(now)
    peer.source.close()
    assert len(peer.delivered) + peer.source.refused + peer.source.dropped == sent
    order = [int(packet) for packet in peer.delivered]
    assert all(one < other for one, other in pairwise(order))


def test_unusable_addresses_are_no_destination() -> None:
    assert address_of(Endpoint("0.0.0.0", 4000)) is None
    assert address_of(Endpoint("::", 4000)) is None
    assert address_of(Endpoint("192.0.2.1", 0)) is None
    assert address_of(Endpoint("media.example.com", 4000)) is None
    assert address_of(Endpoint("2001:DB8:0::1", 4000)) == ("2001:db8::1", 4000)


def test_a_stream_of_zeros_is_on_trial_like_any_other() -> None:
    peer = Peer()
    for n in range(IN_SEQUENCE):
        peer.send_packet(NATTED, n / 50, rtp(b"", n, 0, 0))
    assert peer.wait(GRACE)


@pytest.mark.parametrize(("behind", "late"), [(MAX_MISORDER, True), (MAX_MISORDER + 1, False)])
def test_only_a_packet_far_behind_starts_another_row(behind: int, late: bool) -> None:
    peer = Peer()
    for sequence in (1000, 1001, 1002, 1002 - behind, 1003):
        peer.send_packet(NATTED, 0, rtp(b"", sequence, sequence * 160, 1))
    assert peer.wait(GRACE) is late
