"""A phone's call with messages made by hand: what it sends, what it reports, and when it wants to be called."""

from collections.abc import Callable
from itertools import count, pairwise

import pytest

from sip.bench import Caller, header, response
from trunkline.ids import PayloadType, RtpTime, Ssrc
from trunkline.media.codecs import CODECS
from trunkline.media.leg import RANDOM_BYTES
from trunkline.media.rtp import packet as rtp
from trunkline.phone.core import STALL, VIOLATIONS_KEPT, PhoneCore, PhoneState
from trunkline.phone.line import ImpairedLine
from trunkline.phone.values import CallOver, CallPlan, Impairments, OutgoingDatagram
from trunkline.sdp.values import Endpoint
from trunkline.sip.values import Credentials

PEER = Endpoint("192.0.2.10", 5062)
MEDIA = ("192.0.2.10", 4000)
URI = "sip:bob@192.0.2.10:5062"
SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n"
SDP += "a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
PLAN = CallPlan(URI, PEER)
NONE = Impairments()


class Line:
    """A phone, and what it has sent."""

    def __init__(self, plan: CallPlan = PLAN, impairments: Impairments = NONE, random: Callable[[], float] = float):
        tags = count(1)
        self.now = 100.0
        self.core = PhoneCore(
            plan,
            Endpoint("198.51.100.7", 5060),
            Endpoint("198.51.100.7", 6000),
            tag=lambda: f"our{next(tags)}",
            random=bytes(range(RANDOM_BYTES)),
            now=self.now,
            wall=1e9,
            line=ImpairedLine(impairments, random),
        )

    def sip(self) -> list[str]:
        """The SIP messages sent since the last look; other packets are dropped."""
        return [each.data.decode() for each in self.core.to_send() if each.port == "sip"]

    def receive(self, data: bytes, source: Endpoint = PEER) -> list[str]:
        self.core.receive_sip(data, source, self.now)
        return self.sip()

    def run(self, seconds: float) -> list[tuple[float, OutgoingDatagram]]:
        """Let time pass; what was sent, and when."""
        end, sent = self.now + seconds, []
        while (deadline := self.core.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.core.handle_timer(self.now)
            sent += [(self.now, each) for each in self.core.to_send()]
        self.now = end
        return sent

    def state(self) -> PhoneState:
        return self.core.state

    def kinds(self) -> list[str]:
        return [event.kind for event in self.core.events]

    def dial(self) -> str:
        self.core.place(self.now)
        (invite,) = self.sip()
        return invite

    def establish(self, sdp: str = SDP) -> str:
        """A call that is up; its INVITE."""
        invite = self.dial()
        (ack,) = self.receive(response(invite, tag="them", body=sdp, headers=("X-Trunkline-Call-Sid: v3:one",)))
        assert ack.startswith("ACK ")
        return invite

    def hear(self, number: int, payload: bytes = b"\x10" * 160, kind: int = 0, source: tuple[str, int] = MEDIA) -> None:
        made = rtp.RtpPacket(PayloadType(kind), False, number, RtpTime(number * 160), Ssrc(7), payload)
        self.core.receive_rtp(rtp.build(made), source, self.now)


def test_a_call_is_placed_answered_and_hung_up() -> None:
    line = Line()
    invite = line.dial()
    assert invite.startswith(f"INVITE {URI} SIP/2.0\r\n")
    assert header(invite, "From").startswith("<sip:phone@198.51.100.7>")
    assert "m=audio 6000 RTP/AVP 0 8 9 101\r\n" in invite
    assert line.state() is PhoneState.CALLING
    assert line.receive(response(invite, "180 Ringing", "them")) == []
    assert line.state() is PhoneState.RINGING
    (ack,) = line.receive(response(invite, tag="them", body=SDP, headers=("X-Trunkline-Call-Sid: v3:one",)))
    assert ack.startswith("ACK ")
    assert (line.state(), line.core.call_sid) == (PhoneState.UP, "v3:one")
    line.core.hang_up(line.now)
    (bye,) = line.sip()
    assert bye.startswith("BYE sip:bob@192.0.2.10:5062 ")
    assert not line.core.is_settled
    line.receive(response(bye))
    assert line.core.is_settled
    line.core.hang_up(line.now)
    assert line.sip() == []
    assert [(kind, detail) for _, kind, detail in line.core.events] == [
        ("invited", URI),
        ("ringing", "180 Ringing"),
        ("answered", "PCMU"),
        ("ended", "us: hung up"),
    ]


def test_a_challenge_is_answered_with_the_credentials() -> None:
    line = Line(CallPlan(URI, PEER, "alice", Credentials("alice", "secret")))
    invite = line.dial()
    challenge = 'WWW-Authenticate: Digest realm="here", nonce="n1", algorithm=MD5'
    ack, again = line.receive(response(invite, "401 Unauthorized", "them", headers=(challenge,)))
    assert ack.startswith("ACK ")
    assert header(again, "Authorization").startswith('Digest username="alice", realm="here"')
    line.receive(response(again, tag="them", body=SDP))
    assert line.state() is PhoneState.UP


def test_a_call_that_is_not_answered_is_cancelled() -> None:
    line = Line()
    invite = line.dial()
    line.receive(response(invite, "180 Ringing", "them"))
    line.core.hang_up(line.now)
    (cancel,) = line.sip()
    assert cancel.startswith(f"CANCEL {URI} ")
    line.receive(response(cancel))
    (ack,) = line.receive(response(invite, "487 Request Terminated", "them"))
    assert ack.startswith("ACK ")
    assert line.core.is_settled
    assert line.core.events[-1].detail == "us: given up"


def test_a_refused_call_has_the_status_and_reason() -> None:
    line = Line()
    line.receive(response(line.dial(), "486 Busy Here", "them"))
    assert (line.state(), line.kinds()) == (PhoneState.ENDED, ["invited", "ended"])
    failure = line.core.failure
    assert failure is not None
    assert (failure.status, failure.responded) == (486, True)


def test_a_call_without_any_response_fails_when_the_transaction_does() -> None:
    line = Line()
    line.dial()
    sent = line.run(40)
    assert [each.data.split()[0] for _, each in sent] == [b"INVITE"] * 6
    failure = line.core.failure
    assert failure is not None
    assert (failure.status, failure.responded) == (408, False)


def test_a_network_that_refuses_ends_the_call() -> None:
    line = Line()
    line.dial()
    for _ in range(3):
        line.core.sip_failed("Connection refused", line.now)
    failure = line.core.failure
    assert failure is not None
    assert (failure.responded, failure.unreachable) == (False, True)


def test_a_redirection_to_an_address_is_followed_and_one_to_a_name_is_not() -> None:
    line = Line()
    contact = "Contact: <sip:bob@192.0.2.11:5070>"
    _, again = line.receive(response(line.dial(), "302 Moved", "them", headers=(contact,)))
    assert again.startswith("INVITE sip:bob@192.0.2.11:5070 ")
    line = Line()
    line.receive(response(line.dial(), "302 Moved", "them", headers=("Contact: <sip:bob@host.example>",)))
    failure = line.core.failure
    assert failure is not None
    assert "host.example" in failure.detail


def test_packets_leave_every_packet_time_by_a_steady_clock() -> None:
    line = Line()
    line.establish()
    line.core.audio.play(b"\x00\x20" * 320 * 3)
    sent = [(round(at - 100, 3), each) for at, each in line.run(0.0995) if each.port == "rtp"]
    assert [at for at, _ in sent] == [0.0, 0.02, 0.04, 0.06, 0.08]
    assert {each.to for _, each in sent} == {MEDIA}
    loud = [rtp.payload_of(each.data) != CODECS["PCMU"].silence(20) for _, each in sent]
    assert loud == [True, True, True, False, False]


def test_a_fast_clock_sends_more_and_the_packet_time_is_as_asked() -> None:
    for plan, packets in (
        (CallPlan(URI, PEER, drift_ppm=10_000), 505),
        (CallPlan(URI, PEER, drift_ppm=-10_000), 495),
        (CallPlan(URI, PEER, ptime=40), 250),
    ):
        line = Line(plan)
        assert f"a=ptime:{plan.ptime or 20}\r\n" in line.establish()
        rtp_sent = [each for _, each in line.run(10 if plan.drift_ppm else 9.999) if each.port == "rtp"]
        assert len(rtp_sent) == pytest.approx(packets, abs=1)


def test_a_stall_of_ours_sends_no_burst() -> None:
    line = Line()
    line.establish()
    line.run(0.05)
    line.now += STALL + 0.5
    line.core.handle_timer(line.now)
    assert len([each for each in line.core.to_send() if each.port == "rtp"]) <= 2
    report = line.core.report(line.now)
    assert report is not None
    assert report.skipped_ms >= 600


def test_lost_packets_are_not_sent() -> None:
    line = Line(impairments=Impairments(loss=0.5), random=iter([0.1, 0.9] * 500).__next__)
    line.establish()
    numbers = [int.from_bytes(each.data[2:4]) for _, each in line.run(1.999) if each.port == "rtp"]
    assert len(numbers) == 50
    assert {later - earlier for earlier, later in pairwise(numbers)} == {2}
    assert line.core.line.counts.dropped == 50


def test_what_comes_is_put_in_order_and_heard() -> None:
    line = Line()
    line.establish()
    for number in (0, 1, 3, 2, 4):
        line.hear(number)
        line.run(0.02)
    assert len(line.core.audio.heard) == 5
    report = line.core.report(line.now)
    assert report is not None
    assert (report.packets_in, report.reordered, report.lost) == (5, 1, 0)


def test_keys_are_sent_and_received() -> None:
    line = Line()
    with pytest.raises(CallOver):
        line.core.send_digits("1")
    line.establish()
    line.core.send_digits("5")
    sent = [each.data for _, each in line.run(0.4) if each.port == "rtp" and each.data[1] & 0x7F == 101]
    assert {data[12] for data in sent} == {5}
    for number in range(3):
        line.hear(number, bytes((7, 0x80, 0x03, 0x20)), 101)
    assert line.core.events[-1][1:] == ("digit", "7")


def test_a_reinvite_is_answered_or_refused_and_the_call_goes_on() -> None:
    line = Line()
    invite = line.establish()
    peer = Caller(header(invite, "Call-ID"), from_tag="them", to_tag=header(invite, "From").partition("tag=")[2])
    *_, answer = line.receive(peer.request("INVITE", SDP + "a=sendonly\r\n"))
    assert answer.startswith("SIP/2.0 200")
    assert "a=recvonly" in answer
    line.receive(peer.request("ACK"))
    assert line.core.events[-1].kind == "renegotiated"
    *_, refused = line.receive(peer.request("INVITE", SDP.replace("RTP/AVP 0 101", "RTP/AVP 18")))
    assert refused.startswith("SIP/2.0 488")
    line.receive(peer.request("ACK", new=False))
    assert line.state() is PhoneState.UP
    (again,) = line.receive(peer.request("BYE", headers=('Reason: SIP;cause=200;text="enough"',)))
    assert again.startswith("SIP/2.0 200")
    assert line.core.events[-1].detail.startswith("them: ")
    assert line.state() is PhoneState.ENDED


def test_calls_to_the_phone_are_busy() -> None:
    line = Line()
    line.establish()
    (refused,) = line.receive(Caller().request("INVITE", SDP))
    assert refused.startswith("SIP/2.0 486")


def test_violations_are_kept_and_counted_and_end_no_call() -> None:
    line = Line()
    invite = line.establish()
    line.receive(b"\r\n\r\n")
    line.receive(b"SIP/2.0 200 OK\r\nVia: nonsense\r\n\r\n", Endpoint("203.0.113.9", 5060))
    assert line.core.violations == []
    for _ in range(VIOLATIONS_KEPT + 5):
        line.receive(b"SIP/2.0 200 OK\r\nVia: nonsense\r\n\r\n")
    assert (len(line.core.violations), line.core.violation_count) == (VIOLATIONS_KEPT, VIOLATIONS_KEPT + 5)
    assert line.core.violations[0].startswith("SIP: ")
    line.receive(response(invite, tag="them", body=SDP))
    assert line.state() is PhoneState.UP


@pytest.mark.parametrize("sdp", ["", SDP.replace("RTP/AVP 0 101", "RTP/AVP 18")])
def test_an_answer_that_cannot_be_used_is_a_violation_and_ends_the_call(sdp: str) -> None:
    line = Line()
    ack, bye = line.receive(response(line.dial(), tag="them", body=sdp))
    assert (ack.split()[0], bye.split()[0]) == ("ACK", "BYE")
    assert line.core.violations[0].startswith("SDP: ")
    assert line.state() is PhoneState.ENDED


def test_early_media_is_heard_before_the_answer() -> None:
    line = Line()
    invite = line.dial()
    line.receive(response(invite, "183 Session Progress", "them", body=SDP))
    line.hear(0)
    line.receive(response(invite, tag="them", body=SDP))
    line.hear(1)
    line.run(0.1)
    assert len(line.core.audio.heard) == 2


def test_after_the_end_the_report_stays_and_nothing_is_sent() -> None:
    line = Line()
    assert line.core.report(line.now) is None
    line.establish()
    line.run(1)
    line.core.hang_up(line.now)
    before = line.core.report(line.now)
    sent = [each.port for _, each in line.run(5)]
    assert "rtp" not in sent
    assert line.core.report(line.now) == before
    line.hear(0)
    line.core.receive_rtcp(b"\x80\xc9\x00\x01\x00\x00\x00\x07", ("192.0.2.10", 4001), line.now)
    assert line.core.audio.heard == []


def peer_of(invite: str) -> Caller:
    """The other side of an established call."""
    return Caller(header(invite, "Call-ID"), from_tag="them", to_tag=header(invite, "From").partition("tag=")[2])


def test_what_comes_before_the_answer_is_no_media() -> None:
    line = Line()
    line.dial()
    line.hear(0)
    line.core.receive_rtcp(b"\x80\xc9\x00\x01\x00\x00\x00\x07", ("192.0.2.10", 4001), line.now)
    assert (line.core.audio.heard, line.core.report(line.now), line.core.keys_waiting) == ([], None, False)


def test_provisional_responses_ring_once_each_and_100_does_not() -> None:
    line = Line()
    invite = line.dial()
    line.receive(response(invite, "100 Trying"))
    assert (line.state(), line.kinds()) == (PhoneState.CALLING, ["invited"])
    line.receive(response(invite, "183 Session Progress", "them", body=SDP))
    assert line.state() is PhoneState.RINGING
    assert [event.detail for event in line.core.events] == [URI, "183 Session Progress"]


@pytest.mark.parametrize(
    ("status", "sdp", "why", "violation"),
    [
        ("183 Session Progress", "RTP/AVP 18", "the SDP of a provisional response cannot be used", "SDP: "),
        ("200 OK", "RTP/AVP 18", "the SDP of the 200 cannot be used", "SDP: "),
        ("200 OK", "", "the 200 has no SDP", "SDP: the 200 has no answer to our offer (RFC 3261 section 13.2.1)"),
    ],
)
def test_the_call_is_given_up_with_the_reason(status: str, sdp: str, why: str, violation: str) -> None:
    line = Line()
    body = SDP.replace("RTP/AVP 0 101", sdp) if sdp else ""
    line.receive(response(line.dial(), status, "them", body=body))
    assert line.core.events[-1][1:] == ("ended", f"us: {why}")
    assert (line.state(), line.core.ended_by) == (PhoneState.ENDED, "us")
    assert [text.startswith(violation) for text in line.core.violations] == [True]
    assert line.core.events[-2] == (line.now, "violation", line.core.violations[0])


def test_the_end_has_who_ended_it_and_why_once() -> None:
    for status, detail in (("486 Busy Here", "them: 486 Busy Here"), (None, "us: ")):
        line = Line()
        invite = line.dial()
        if status:
            line.receive(response(invite, status, "them"))
        else:
            line.run(40)
        line.core.hang_up(line.now)
        assert line.core.events[-1].detail.startswith(detail)
        assert line.kinds() == ["invited", "ended"]
    line = Line()
    invite = line.establish()
    line.core.hang_up(line.now)
    line.sip()
    line.receive(peer_of(invite).request("BYE"))
    assert line.kinds() == ["invited", "answered", "ended"]
    assert line.core.ended_by == "us"


def test_a_request_that_is_malformed_is_refused_and_a_violation() -> None:
    line = Line()
    invite = line.establish()
    request = peer_of(invite).request("INFO").replace(b"CSeq: 1 INFO", b"CSeq: x")
    (refused,) = line.receive(request)
    assert refused.startswith("SIP/2.0 400")
    assert [text.startswith("SIP: ") for text in line.core.violations] == [True]


def test_keys_by_info_and_keys_down_at_the_end_are_reported() -> None:
    line = Line()
    invite = line.establish()
    headers = ("Content-Type: application/dtmf-relay",)
    (ok,) = line.receive(peer_of(invite).request("INFO", "Signal=5\r\nDuration=160\r\n", headers))
    assert ok.startswith("SIP/2.0 200")
    assert [event[1:] for event in line.core.events if event.kind == "digit"] == [("digit", "5")]
    line.now += 2
    line.hear(0, bytes((7, 0x00, 0x03, 0x20)), 101)
    line.core.hang_up(line.now)
    assert [event.detail for event in line.core.events if event.kind == "digit"] == ["5", "7"]
    assert line.core.events[-1].kind == "ended"


def test_an_offer_is_wanted_in_a_reinvite() -> None:
    line = Line()
    invite = line.establish()
    *_, refused = line.receive(peer_of(invite).request("INVITE"))
    assert refused.startswith("SIP/2.0 488 Not Acceptable Here")
    assert "this phone answers offers and makes none" in refused
    assert line.state() is PhoneState.UP


def test_the_answer_to_a_refresh_moves_the_media() -> None:
    line = Line()
    invite = line.dial()
    expires = ("Session-Expires: 90;refresher=uac", "Require: timer")
    line.receive(response(invite, tag="them", body=SDP, headers=expires))
    refresh = next(each.data.decode() for _, each in line.run(46) if each.port == "sip")
    assert refresh.startswith("INVITE ")
    line.receive(response(refresh, tag="", body=SDP.replace("audio 4000", "audio 4010"), headers=expires))
    sent = [each.to for _, each in line.run(0.1) if each.port == "rtp"]
    assert set(sent) == {("192.0.2.10", 4010)}


@pytest.mark.parametrize(
    ("codecs", "asked", "sent"),
    [(("PCMU",), None, 20), (("PCMU",), 40, 40), (("PCMU",), 25, 20), (("PCMU",), 5, 10), (("PCMU",), 90, 60)],
)
def test_the_packet_time_is_the_longest_that_the_codec_has(
    codecs: tuple[str, ...], asked: int | None, sent: int
) -> None:
    line = Line(CallPlan(URI, PEER, codecs=codecs, ptime=asked))
    line.establish()
    assert line.core.leg is not None
    assert line.core.leg.outbound.ptime == sent
    assert line.core.leg.outbound.play_at == 0


def test_rtcp_goes_to_its_port_and_ends_with_bye() -> None:
    line = Line()
    line.establish()
    line.hear(0)
    reports = [each for _, each in line.run(12) if each.port == "rtcp"]
    assert reports
    assert {each.to for each in reports} == {("192.0.2.10", 4001)}
    line.core.hang_up(line.now)
    assert [each.to for each in line.core.to_send() if each.port == "rtcp"] == [("192.0.2.10", 4001)]


@pytest.mark.parametrize(("late", "skipped"), [(STALL - 0.02, 0), (STALL + 0.03, 220)])
def test_only_a_stall_leaves_packets_out(late: float, skipped: int) -> None:
    line = Line()
    line.establish()
    line.run(0.1)
    due = line.core.deadline
    assert due is not None
    line.now = due + late
    line.core.handle_timer(line.now)
    report = line.core.report(line.now)
    assert report is not None
    assert report.skipped_ms == skipped
    assert line.core.pacing.worst == pytest.approx(late if not skipped else 0.01, abs=0.001)


def test_no_cancel_leaves_before_a_provisional_response() -> None:
    line = Line()
    assert line.core.deadline is None
    line.dial()
    assert line.core.deadline == pytest.approx(100.5)
    line.core.hang_up(line.now)
    assert line.core.to_send() == []


def test_only_the_peer_is_heard_and_its_rtcp_counted() -> None:
    line = Line()
    line.establish()
    for number in range(4):
        line.hear(number)
    line.hear(4, source=("203.0.113.9", 4000))
    line.core.receive_rtcp(b"\x80\xc9\x00\x01\x00\x00\x00\x07", ("192.0.2.10", 4001), line.now)
    report = line.core.report(line.now)
    assert report is not None
    assert (report.packets_in, report.rtcp_in) == (4, 1)
    assert len(line.core.audio.heard) == 4


def test_every_provisional_response_but_100_rings() -> None:
    line = Line()
    line.receive(response(line.dial(), "101 Dialog Establishment", "them"))
    assert (line.state(), line.core.events[-1].detail) == (PhoneState.RINGING, "101 Dialog Establishment")
