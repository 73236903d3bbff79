"""Which source address a leg accepts as its peer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import Seconds
from trunkline.media.rtp.source import (
    CANDIDATES,
    GRACE,
    KEPT,
    KEPT_PACKETS,
    REOPENED,
    REST,
    TAKEOVER,
    Address,
    Source,
    SourceDecision,
    address_of,
)
from trunkline.sdp.values import Endpoint

SIGNALLED = ("192.0.2.1", 4000)
NATTED = ("198.51.100.7", 61234)
UNEXPECTED = ("203.0.113.9", 5555)
THIRD = ("203.0.113.77", 7777)
TAKE, KEEP, REFUSE = SourceDecision.TAKE, SourceDecision.KEEP, SourceDecision.REFUSE


class Peer:
    """A source, the time of its last accepted packet, and the packets delivered."""

    def __init__(self, signalled: Address | None = SIGNALLED, *, strict: bool = False) -> None:
        self.source = Source(Endpoint(*signalled) if signalled else Endpoint("0.0.0.0", 0), strict=strict)
        self.heard: Seconds | None = None
        self.delivered: list[bytes] = []

    def send(self, address: Address, now: float, packet: bytes = b"", *, continues: bool = False) -> SourceDecision:
        learned = self.source.learned
        verdict = self.source.admit(address, packet, Seconds(now), self.heard, continues=continues)
        if self.source.learned != learned:
            self.delivered += [packet for _, packet in self.source.accepted()]
        if verdict is TAKE:
            self.heard = Seconds(now)
            self.delivered.append(packet)
        return verdict

    def wait(self, now: float) -> bool:
        """As the leg's timer does."""
        if not self.source.decide(Seconds(now), self.heard):
            return False
        kept = self.source.accepted()
        self.delivered += [packet for _, packet in kept]
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


def test_until_a_packet_arrives_the_destination_is_the_signalled_address() -> None:
    assert Peer().source.destination == SIGNALLED


def test_the_signalled_address_is_accepted_at_once() -> None:
    peer = Peer()
    assert peer.send(SIGNALLED, 0) is TAKE
    assert peer.source.latched
    assert peer.send(UNEXPECTED, 0) is REFUSE


def test_another_first_source_is_accepted_after_a_trial() -> None:
    peer = Peer()
    assert peer.send(NATTED, 0, b"one") is KEEP
    assert peer.send(NATTED, 0.1, b"two") is KEEP
    assert (peer.source.destination, peer.delivered) == (SIGNALLED, [])
    assert not peer.wait(GRACE - 0.01)
    assert peer.wait(GRACE)
    assert (peer.source.destination, peer.delivered) == (NATTED, [b"one", b"two"])
    assert peer.send(NATTED, GRACE + 0.01, b"three") is TAKE
    assert peer.source.latched
    assert peer.send(SIGNALLED, GRACE + 0.02) is REFUSE


def test_the_signalled_address_ends_the_trial_of_an_unexpected_source() -> None:
    peer = Peer()
    peer.send(UNEXPECTED, 0, b"unexpected")
    assert peer.send(SIGNALLED, 0.1, b"peer") is TAKE
    assert (peer.delivered, peer.source.latched) == ([b"peer"], True)
    assert (peer.source.refused, peer.source.unexpected_source) == (1, UNEXPECTED)


@pytest.mark.parametrize(
    ("signalled", "source", "verdict"),
    [
        (("192.168.1.20", 4000), ("8.8.8.8", 4000), TAKE),
        (("10.0.0.7", 4000), ("2001:4860:4860::8888", 4000), TAKE),
        (("100.64.0.7", 4000), ("8.8.8.8", 4000), TAKE),
        (("192.168.1.20", 4000), ("192.168.1.21", 4000), KEEP),
        (("9.9.9.9", 4000), ("8.8.8.8", 4000), KEEP),
        (("9.9.9.9", 4000), ("192.168.1.21", 4000), KEEP),
    ],
)
def test_a_public_source_is_accepted_at_once_if_a_private_one_is_signalled(
    signalled: Address, source: Address, verdict: SourceDecision
) -> None:
    peer = Peer(signalled)
    assert peer.send(source, 0) is verdict
    assert peer.send(signalled, 0.1) is TAKE
    assert peer.source.destination == signalled


def test_without_an_address_in_the_sdp_the_first_source_is_accepted_at_once() -> None:
    source = Source(Endpoint("0.0.0.0", 4000))
    assert source.admit(NATTED, b"", Seconds(0), None) is TAKE
    assert source.destination == NATTED


# ---------------------------------------------------------------------- two and more sources


def test_of_two_on_trial_the_signalled_host_is_accepted_and_the_other_counted() -> None:
    peer = Peer()
    other_port = (SIGNALLED[0], 4444)
    peer.send(UNEXPECTED, 0, b"unexpected")
    peer.send(other_port, 0.2, b"peer")
    assert not peer.wait(0.2 + GRACE - 0.01)
    assert peer.wait(0.2 + GRACE)
    assert (peer.source.learned, peer.delivered, peer.source.refused) == (other_port, [b"peer"], 1)


def test_of_two_equal_sources_the_first_is_accepted() -> None:
    peer = Peer()
    peer.send(NATTED, 0, b"first")
    peer.send(UNEXPECTED, 0.1, b"second")
    assert peer.wait(GRACE)
    assert (peer.source.learned, peer.delivered) == (NATTED, [b"first"])


def test_a_third_source_is_refused_until_another_is_silent() -> None:
    peer = Peer(None)
    peer.source.keep_early(NATTED, b"", Seconds(0))
    peer.source.keep_early(UNEXPECTED, b"", Seconds(0.9))
    peer.source.keep_early(THIRD, b"", Seconds(0.9))
    assert (CANDIDATES, peer.source.refused, peer.source.unexpected_source) == (2, 1, THIRD)
    peer.source.keep_early(THIRD, b"", Seconds(1.1))
    assert (peer.source.refused, peer.source.unexpected_source) == (2, NATTED)
    peer.answer(THIRD, 1.2)
    assert peer.source.learned == THIRD


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
    talks(peer, address, 3.1, 5.2)
    assert peer.delivered == [b"%d" % n for n in range(145, 260)]
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
    """A peer that was received for one second."""
    peer = Peer(strict=strict)
    talks(peer, address, 0, 1)
    assert (peer.source.latched, peer.source.learned) == (True, address)
    peer.delivered.clear()
    return peer


def test_a_changed_address_reopens_learning_with_a_longer_trial_of_the_old_one() -> None:
    peer = latched()
    assert peer.signal(("192.0.2.2", 4002), 10)
    assert (peer.source.latched, peer.source.destination) == (False, ("192.0.2.2", 4002))
    assert peer.send(NATTED, 10.02, b"former") is KEEP
    assert peer.send(THIRD, 10.3, b"new") is KEEP
    assert peer.wait(10.3 + GRACE)
    assert (peer.source.learned, peer.delivered, peer.source.refused) == (THIRD, [b"new"], 1)


def test_a_former_source_is_not_taken_while_another_is_on_trial() -> None:
    peer = latched()
    peer.signal(("192.0.2.2", 4002), 10)
    peer.send(NATTED, 10, b"former")
    assert not peer.wait(10 + REST - 0.01)
    peer.send(THIRD, 10 + REST - 0.01, b"new")
    assert not peer.wait(10 + REST)
    assert peer.wait(10 + REST + GRACE)
    assert peer.delivered == [b"new"]


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
    talks(peer, NATTED, 10, 15)
    assert (peer.source.learned, peer.source.latched) == (NATTED, True)
    assert peer.send(there, 15) is REFUSE
    assert peer.send(there, 15 + TAKEOVER) is TAKE


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
    peer.send(UNEXPECTED, 10, b"unexpected")
    peer.send(THIRD, 10.3, b"goes on", continues=True)
    assert not peer.wait(10 + GRACE)
    assert peer.wait(10.3 + GRACE)
    assert (peer.source.learned, peer.delivered) == (THIRD, [b"goes on"])


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
    peer = latched(strict=strict)
    assert peer.send(THIRD, 1 + silent, b"no", continues=continues) is not TAKE
    assert peer.source.learned == NATTED
    assert peer.send(NATTED, 1 + silent + 0.02, b"peer") is TAKE
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


@given(steps=_STEPS, answered=st.booleans(), strict=st.booleans())
def test_every_packet_is_delivered_in_order_or_counted(steps: list[Step], answered: bool, strict: bool) -> None:
    peer, now, sent = Peer(SIGNALLED if answered else None, strict=strict), 0.0, 0
    for what, address, continues, pause in steps:
        now += 0.02
        if what == "wait":
            now += pause
            peer.wait(now)
        elif what == "signal":
            peer.answer(address, now, early=continues)
        elif peer.source.awaiting:
            sent += 1
            peer.source.keep_early(address, b"%d" % sent, Seconds(now))
        else:
            sent += 1
            peer.send(address, now, b"%d" % sent, continues=continues)
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
