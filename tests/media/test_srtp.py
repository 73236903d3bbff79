"""An encrypted leg against libsrtp driven by the test: keys, replays, wraps, new keys; and RFC 3711's derived keys."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pylibsrtp import Error, Session

from trunkline.ids import RtpTime, Seconds, Ssrc
from trunkline.media.leg import Leg
from trunkline.media.rtp import rtcp
from trunkline.media.rtp.packet import parse
from trunkline.media.srtp import Channel, session
from trunkline.sdp.values import Direction, Endpoint, MediaParams, SrtpKeys

PACKET_LIMIT = 1500

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
MakeTap = Callable[..., "RecordingTap"]
Rtp = Callable[..., bytes]

S80, S32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
OURS, THEIRS = bytes(range(30)), bytes(range(30, 60))
NEW_OURS, NEW_THEIRS = bytes(range(60, 90)), bytes(range(90, 120))
PEER = ("127.0.0.1", 9)
UNEXPECTED = ("203.0.113.9", 5555)
NOW = Seconds(101)


class Peer:
    """The peer: its keys are those of the leg, with directions swapped."""

    def __init__(self, keys: SrtpKeys) -> None:
        self.sends = session(keys.suite, keys.theirs, inbound=False)
        self.receives = session(keys.suite, keys.ours, inbound=True)


@pytest.fixture
def keys() -> SrtpKeys:
    return SrtpKeys(S80, 1, OURS, THEIRS)


@pytest.fixture
def encrypted(params: MediaParams, keys: SrtpKeys) -> MediaParams:
    return replace(params, srtp=keys)


@pytest.fixture
def peer(keys: SrtpKeys) -> Peer:
    return Peer(keys)


def opens(receives: Session, packet: bytes | None) -> bytes:
    assert packet is not None
    found = parse(receives.unprotect(packet))
    assert found is not None
    return found.payload


@pytest.mark.parametrize(("suite", "tag_length"), [(S80, 10), (S32, 4)])
def test_both_ways_with_both_suites(
    suite: str, tag_length: int, params: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    keys = SrtpKeys(suite, 1, OURS, THEIRS)
    peer, leg, tap = Peer(keys), make_leg(replace(params, srtp=keys)), make_tap(plays=True)
    leg.attach(tap)
    leg.receive_from(peer.sends.protect(rtp(0, b"first")), PEER, NOW)
    assert leg.source.latched
    leg.receive(peer.sends.protect(rtp(1, b"second")), NOW)
    assert tap.payloads == [b"first", b"second"]
    tap.to_play.append(bytes(range(160)))
    packet = leg.next_packet()
    assert packet is not None
    assert len(packet) == 12 + 160 + tag_length
    assert bytes(range(160)) not in packet
    assert opens(peer.receives, packet) == bytes(range(160))
    assert leg.report(NOW).srtp == suite


def test_the_keys_of_a_leg_are_those_of_rfc_3711(make_leg: MakeLeg, params: MediaParams) -> None:
    # Appendix B.3's master key and salt; the keystream is checked apart from libsrtp, from B.3's derived keys.
    master = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")
    derived_key = bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")
    derived_salt = bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1")
    leg = make_leg(replace(params, srtp=SrtpKeys(S80, 1, master, THEIRS)))
    packet = leg.next_packet()
    assert packet is not None
    sequence, ssrc = int.from_bytes(packet[2:4]), int.from_bytes(packet[8:12])
    # Section 4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16)
    iv = int.from_bytes(derived_salt) << 16 ^ ssrc << 64 ^ sequence << 16
    cipher = Cipher(algorithms.AES(derived_key), modes.CTR(iv.to_bytes(16))).decryptor()
    assert cipher.update(packet[12:-10]) == b"\xff" * 160, "mu-law silence"


def test_wrong_keys_and_tampering_are_counted_and_not_learned(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    unexpected = session(S80, NEW_THEIRS, inbound=False)
    leg.receive_from(unexpected.protect(rtp(0)), UNEXPECTED, NOW)
    leg.receive_from(rtp(0), UNEXPECTED, NOW)
    assert leg.source.learned is None
    good = peer.sends.protect(rtp(0))
    leg.receive_from(good[:-1] + bytes([good[-1] ^ 1]), PEER, NOW)
    leg.receive_from(good, PEER, NOW)
    leg.receive(unexpected.protect(rtp(1)), NOW)
    report = leg.report(NOW)
    assert (report.srtp_auth_failed, report.packets_in, report.wrong_source, report.lost) == (4, 1, 0, 0)
    assert len(tap.heard) == 1


def test_replays_are_counted_and_dropped(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    packets = [peer.sends.protect(rtp(number)) for number in range(300)]
    leg.receive_from(packets[0], PEER, NOW)
    leg.receive(packets[0], NOW)
    for packet in packets[2:]:
        leg.receive(packet, NOW)
    leg.receive(packets[1], NOW)
    report = leg.report(NOW)
    assert (report.srtp_replayed, report.srtp_auth_failed, report.duplicate) == (2, 0, 0)


@pytest.mark.parametrize("junk", [b"", b"\x80", b"\x80" * 12, bytes(40), b"\x80" * PACKET_LIMIT, b"\x80" * 1501])
def test_junk_of_every_length_is_counted(junk: bytes, encrypted: MediaParams, make_leg: MakeLeg) -> None:
    leg = make_leg(encrypted)
    leg.receive_from(junk, PEER, NOW)
    leg.receive(junk, NOW)
    leg.receive_rtcp(junk, PEER, NOW)
    report = leg.report(NOW)
    assert report.srtp_auth_failed + report.malformed + report.keepalives == 3
    assert bool(report.keepalives) is (len(junk) < 12 or not junk.strip(b"\0"))
    assert report.packets_in == 0


@pytest.mark.parametrize(("size", "counts"), [(PACKET_LIMIT, (1, 0)), (PACKET_LIMIT + 1, (0, 1))])
def test_a_datagram_larger_than_the_buffer_is_malformed(keys: SrtpKeys, size: int, counts: tuple[int, int]) -> None:
    channel = Channel(keys)
    assert channel.unprotect(b"\x80\x00" + bytes(size - 2)) is None
    assert (channel.auth_failed, channel.malformed) == counts


def test_the_sequence_wraps_both_ways(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    leg.receive_from(peer.sends.protect(rtp(0x7FF0)), PEER, NOW)
    for number in range(0x7FF1, 0x10010):
        leg.receive(peer.sends.protect(rtp(number)), NOW)
    report = leg.report(NOW)
    assert (report.frames_in, report.srtp_auth_failed, report.lost, report.restarts) == (0x10010 - 0x7FF0, 0, 0, 0)
    for number in range(0x10010):
        packet = leg.next_packet()
        assert packet is not None
        if number % 1000 == 0:
            peer.receives.unprotect(packet)  # raises when the count of wraps differs


def test_the_first_sequence_number_leaves_room_before_the_wrap(encrypted: MediaParams, make_leg: MakeLeg) -> None:
    packet = make_leg(encrypted).next_packet()
    assert packet is not None
    assert packet[2] < 0x80


def test_hold_and_resume_keep_the_keys_and_their_count(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    leg.receive_from(peer.sends.protect(rtp(0)), PEER, NOW)
    opens(peer.receives, leg.next_packet())
    leg.update(replace(encrypted, direction=Direction.RECVONLY), NOW)
    assert leg.next_packet() is None
    leg.update(encrypted, NOW)
    leg.receive(peer.sends.protect(rtp(1)), NOW)
    assert opens(peer.receives, leg.next_packet())
    leg.receive(session(S80, THEIRS, inbound=False).protect(rtp(0)), NOW)
    assert leg.report(NOW).srtp_replayed == 1, "the replay window was not reset"
    assert len(tap.heard) == 2


def test_a_packet_under_neither_the_old_nor_the_new_key_is_counted(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    leg.receive_from(peer.sends.protect(rtp(0)), PEER, NOW)
    leg.update(replace(encrypted, srtp=SrtpKeys(S80, 1, NEW_OURS, NEW_THEIRS)), NOW)
    leg.receive(session(S80, bytes(30), inbound=False).protect(rtp(1, b"forged")), NOW)
    assert leg.report(NOW).srtp_auth_failed == 1
    leg.receive(peer.sends.protect(rtp(1, b"in flight")), NOW)
    assert tap.payloads[1:] == [b"in flight"]


def test_new_keys_are_used_at_once_and_the_former_until_the_peer_has_changed(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    leg.receive_from(peer.sends.protect(rtp(0)), PEER, NOW)
    before = parse(peer.receives.unprotect(leg.next_packet() or b""))
    renewed = SrtpKeys(S32, 1, NEW_OURS, NEW_THEIRS)
    leg.update(replace(encrypted, srtp=renewed), NOW)
    leg.receive(peer.sends.protect(rtp(1, b"in flight")), NOW)
    after_rekey = Peer(renewed)
    leg.receive(after_rekey.sends.protect(rtp(2, b"new key")), NOW)
    leg.receive(peer.sends.protect(rtp(3, b"too late")), NOW)
    assert tap.payloads[1:] == [b"in flight", b"new key"]
    assert leg.report(NOW).srtp_auth_failed == 1
    packet = leg.next_packet()
    assert packet is not None
    after = parse(after_rekey.receives.unprotect(packet))
    assert before is not None
    assert after is not None
    assert after.ssrc != before.ssrc, "so that every peer counts wraps from zero"
    assert after.timestamp - before.timestamp == 160
    assert after.marker


def test_a_change_that_is_cancelled_leaves_the_former_key_and_its_count(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    leg.receive_from(peer.sends.protect(rtp(0)), PEER, NOW)
    before = parse(peer.receives.unprotect(leg.next_packet() or b""))
    leg.update(replace(encrypted, srtp=SrtpKeys(S32, 1, NEW_OURS, NEW_THEIRS)), NOW)
    leg.receive(peer.sends.protect(rtp(1)), NOW)
    leg.update(encrypted, NOW)
    leg.receive(peer.sends.protect(rtp(2)), NOW)
    leg.receive(session(S80, THEIRS, inbound=False).protect(rtp(0)), NOW)
    report = leg.report(NOW)
    assert (report.frames_in, report.srtp_auth_failed, report.srtp_replayed) == (3, 0, 1), (
        "the replay window was not reset"
    )
    after = parse(peer.receives.unprotect(leg.next_packet() or b""))
    assert before is not None
    assert after is not None
    assert after.ssrc != before.ssrc, "or the same key would encrypt two packets alike"


def test_a_new_key_of_the_peer_alone_leaves_our_stream_alone(
    encrypted: MediaParams, make_leg: MakeLeg, keys: SrtpKeys, peer: Peer
) -> None:
    leg = make_leg(encrypted)
    first = parse(peer.receives.unprotect(leg.next_packet() or b""))
    leg.update(replace(encrypted, srtp=replace(keys, theirs=NEW_THEIRS)), NOW)
    second = parse(peer.receives.unprotect(leg.next_packet() or b""))
    assert first is not None
    assert second is not None
    assert (second.ssrc, second.sequence) == (first.ssrc, first.sequence + 1)


def test_encryption_can_begin_and_end_in_the_call(
    params: MediaParams, encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(params), make_tap()
    leg.attach(tap)
    leg.receive_from(rtp(0, b"plain"), PEER, NOW)
    leg.update(encrypted, NOW)
    leg.receive(rtp(1, b"plain again"), NOW)
    leg.receive(peer.sends.protect(rtp(1, b"encrypted")), NOW)
    assert opens(peer.receives, leg.next_packet())
    leg.update(params, NOW)
    leg.receive(rtp(2, b"plain"), NOW)
    assert tap.payloads == [b"plain", b"encrypted", b"plain"]
    assert parse(leg.next_packet() or b"") is not None
    report = leg.report(NOW)
    assert (report.srtp, report.srtp_auth_failed) == ("", 1), "what was counted stays"


@pytest.mark.parametrize("mux", [False, True])
def test_rtcp_is_encrypted_both_ways(
    mux: bool, encrypted: MediaParams, make_leg: MakeLeg, rtp: Rtp, peer: Peer
) -> None:
    leg = make_leg(replace(encrypted, rtcp_mux=mux))
    plain = rtcp.build(rtcp.Report(Ssrc(7), (), rtcp.SenderInfo(1 << 40, RtpTime(0), 1, 160)), "peer")
    leg.receive_from(peer.sends.protect(rtp(0)), PEER, NOW)
    secured = peer.sends.protect_rtcp(plain)
    if mux:
        leg.receive(secured, NOW)
        leg.receive(secured, NOW)
        leg.receive(plain, NOW)
    else:
        leg.receive_rtcp(secured, PEER, NOW)
        leg.receive_rtcp(secured, PEER, NOW)
        leg.receive_rtcp(plain, PEER, NOW)
    report = leg.report(NOW)
    assert (report.rtcp_in, report.srtp_replayed, report.srtp_auth_failed + report.malformed) == (1, 1, 1)
    leg.next_packet()
    ours = leg.report_due(Seconds(110))
    assert ours is not None
    assert isinstance(rtcp.parse(peer.receives.unprotect_rtcp(ours))[0], rtcp.Report)
    goodbye = leg.close(Seconds(111))
    assert goodbye is not None
    assert isinstance(rtcp.parse(peer.receives.unprotect_rtcp(goodbye))[-1], rtcp.Bye)
    with pytest.raises(Error):
        session(S80, NEW_OURS, inbound=True).unprotect_rtcp(goodbye)


def test_keys_are_in_no_report(encrypted: MediaParams, make_leg: MakeLeg) -> None:
    report = asdict(make_leg(encrypted).report(NOW))
    assert not any(isinstance(value, bytes) for value in report.values())


def test_an_ipv6_peer_is_reported_with_its_address_in_brackets(params: MediaParams, make_leg: MakeLeg) -> None:
    assert make_leg(replace(params, remote=Endpoint("2001:db8::1", 4000))).report(NOW).remote == "[2001:db8::1]:4000"


# ---------------------------------------------------------------------- sources

NATTED, MOVED = ("198.51.100.7", 61234), ("198.51.100.7", 999)


def talk(leg: Leg, peer: Peer, rtp: Rtp, address: tuple[str, int], numbers: range, ssrc: int = 7) -> None:
    """Packet n at 101 + n / 50 s, as if the kernel accepted all sources."""
    for n in numbers:
        now = Seconds(101 + n / 50)
        leg.handle_timer(now)
        leg.receive_from(peer.sends.protect(rtp(n, ssrc=ssrc)), address, now)


def test_packets_encrypted_before_the_answer_are_decrypted_with_its_key(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(replace(encrypted, remote=Endpoint("0.0.0.0", 0), srtp=None)), make_tap()
    unexpected = session(S80, NEW_THEIRS, inbound=False)
    leg.receive_from(unexpected.protect(rtp(0, ssrc=9)), UNEXPECTED, Seconds(101))
    talk(leg, peer, rtp, NATTED, range(10))
    leg.update(encrypted, Seconds(101.2))
    leg.attach(tap)
    talk(leg, peer, rtp, NATTED, range(10, 40))
    assert [payload[0] for payload in tap.payloads] == list(range(40))
    report = leg.report(Seconds(102))
    assert (report.srtp_auth_failed, report.srtp_replayed, report.remote) == (1, 0, "198.51.100.7:61234")


def test_after_signalling_only_a_source_with_the_key_is_accepted(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    talk(leg, peer, rtp, NATTED, range(50))
    leg.update(encrypted, Seconds(102))
    unexpected = Peer(SrtpKeys(S80, 1, OURS, NEW_THEIRS))
    talk(leg, unexpected, rtp, UNEXPECTED, range(50, 100))
    assert leg.source.learned == NATTED
    talk(leg, peer, rtp, MOVED, range(100, 150), ssrc=9)
    assert leg.source.learned == MOVED
    assert [payload[0] for payload in tap.payloads] == [*range(50), *range(100, 150)]
    report = leg.report(Seconds(104))
    assert (report.srtp_auth_failed, report.wrong_source) == (50, 0)


def test_rtcp_with_the_key_may_come_from_another_port(encrypted: MediaParams, make_leg: MakeLeg, peer: Peer) -> None:
    leg = make_leg(encrypted)
    report = rtcp.build(rtcp.Report(Ssrc(7)), "p")
    leg.receive_rtcp(report, ("127.0.0.1", 4444), NOW)
    assert leg.rtcp_destination == ("127.0.0.1", 10)
    leg.receive_rtcp(peer.sends.protect_rtcp(report), ("127.0.0.1", 4444), NOW)
    assert leg.rtcp_destination == ("127.0.0.1", 4444)


def test_without_signalling_only_the_stream_with_the_key_is_accepted(
    encrypted: MediaParams, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, peer: Peer
) -> None:
    leg, tap = make_leg(encrypted), make_tap()
    leg.attach(tap)
    sent = [peer.sends.protect(rtp(n)) for n in range(50)]
    for n, packet in enumerate(sent):
        leg.receive_from(packet, NATTED, Seconds(101 + n / 50))
    for packet in sent:
        leg.receive_from(packet, UNEXPECTED, Seconds(105))
    leg.receive_from(rtp(50), UNEXPECTED, Seconds(105))
    talk(leg, Peer(SrtpKeys(S80, 1, OURS, NEW_THEIRS)), rtp, UNEXPECTED, range(200, 210))
    assert leg.source.learned == NATTED
    talk(leg, peer, rtp, MOVED, range(210, 220))
    assert leg.source.learned == MOVED
    assert [payload[0] for payload in tap.payloads] == [*range(50), *range(210, 220)]
    report = leg.report(Seconds(106))
    assert (report.srtp_replayed, report.srtp_auth_failed, report.wrong_source, report.lost) == (50, 11, 0, 160)
