"""Numbers from what was heard and said: first sound, interruptions, gaps, violations."""

from dataclasses import replace

import pytest

from phone.test_core import MEDIA, PEER, SDP, URI, Line, peer_of
from sip.bench import response
from trunkline.media.audio.level import SILENT
from trunkline.media.report import LegReport
from trunkline.phone.audio import AUDIBLE, Loudness
from trunkline.phone.measures import (
    RELIABLE_MS,
    AudibleSpan,
    CallResult,
    Gaps,
    cleared_ms,
    first_audio_ms,
    gaps,
    measure,
    media_violations,
    not_placed,
    percentile,
    spans,
)


def track(*levels: tuple[float, int]) -> list[Loudness]:
    """20 ms at each time, at a level."""
    return [Loudness(at, 20, level) for at, level in levels]


def test_spans_are_audible_and_bridge_the_pauses_of_speech() -> None:
    found = spans(track((1.0, -20), (1.02, -90), (1.2, -20), (2.0, -60), (2.5, -30)))
    assert [(span.start, round(span.end, 3)) for span in found] == [(1.0, 1.22), (2.5, 2.52)]
    assert spans(track((1.0, -51))) == []
    assert len(spans(track((1.0, -20), (1.2, -20)), pause=0.1)) == 2


@pytest.mark.parametrize(
    ("heard", "said", "expected"),
    [
        ([], [], None),
        ([AudibleSpan(1.5, 2)], [], 500),
        ([AudibleSpan(1.5, 2)], [AudibleSpan(2.5, 3)], 500),
        ([AudibleSpan(1.6, 2)], [AudibleSpan(1.5, 3)], 100),
        ([AudibleSpan(3.4, 4)], [AudibleSpan(1.5, 3)], 400),
        ([AudibleSpan(0.9, 4)], [], 0),
    ],
    ids=["nothing", "greeting", "greeting before our words", "echo", "reply", "early media"],
)
def test_the_first_audio_is_measured_from_what_it_answers(
    heard: list[AudibleSpan], said: list[AudibleSpan], expected: float | None
) -> None:
    assert first_audio_ms(1.0, heard, said) == expected


def test_an_interruption_is_measured_from_our_first_word_to_silence() -> None:
    heard = [AudibleSpan(1.0, 2.25), AudibleSpan(5.0, 6.0)]
    assert cleared_ms(heard, [AudibleSpan(2.0, 3.0)]) == [250]
    assert cleared_ms(heard, [AudibleSpan(3.0, 4.0)]) == []
    assert cleared_ms(heard, [AudibleSpan(2.0, 3.0), AudibleSpan(5.5, 7.0)]) == [250, 500]


def test_gaps_are_between_arrivals() -> None:
    assert gaps([]) == gaps(track((1.0, -20))) == Gaps()
    found = gaps(track((1.0, -20), (1.02, -20), (1.04, -90), (1.24, -20)))
    assert (found.mean, found.longest, found.stalls) == (80, 200, (200,))
    assert found.p95 == pytest.approx(182)


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert [percentile([1, 2, 3, 4, 5], share) for share in (0, 0.5, 0.9, 1)] == [1, 3, pytest.approx(4.6), 5]
    assert percentile([7], 0.95) == 7


def test_counters_of_the_media_that_no_peer_should_cause_are_violations() -> None:
    assert media_violations(None) == media_violations(LegReport()) == []
    found = media_violations(LegReport(malformed=1, unknown_payload_type=2, seen_payload_type=96, rtcp_malformed=3))
    assert [text.split(":")[0] for text in found] == ["RTP", "RTP", "RTCP"]
    assert "payload type 96" in found[1]


def test_a_call_that_was_not_placed_has_its_failure_and_no_sound() -> None:
    result: CallResult = not_placed("sip:a@b", "no such host")
    assert (result.failure, result.spoke, result.is_reliable, result.closed_before_audio) == (
        *("no such host", False, True),
        False,
    )


def test_what_borders_on_a_limit() -> None:
    assert [(one.start, one.end) for one in spans(track((1.0, AUDIBLE), (2.0, AUDIBLE - 1)))] == [(1.0, 1.02)]
    assert len(spans(track((1.0, -20), (1.5, -20)), pause=0.48)) == 2
    assert len(spans(track((1.0, -20), (1.5, -20)), pause=0.4801)) == 1
    late = [Loudness(1.0, 200, -20), Loudness(1.1, 20, -20)]
    assert spans(late) == [AudibleSpan(1.0, 1.2)]
    assert cleared_ms([AudibleSpan(1.0, 2.0)], [AudibleSpan(1.0, 3.0), AudibleSpan(2.0, 3.0)]) == []
    assert cleared_ms([AudibleSpan(1.0, 2.0)], [AudibleSpan(1.87654, 3.0)]) == [123.5]
    assert first_audio_ms(1.0, [AudibleSpan(1.12345, 2)], []) == 123.5
    assert gaps([Loudness(0.0, 20, -20), Loudness(0.09999, 20, -20)]).stalls == ()
    found = gaps([Loudness(0.0, 20, -20), Loudness(0.125, 20, -20), Loudness(0.325046, 20, -20)])
    assert (found.mean, found.p95, found.longest, found.stalls) == (162.5, 196.3, 200.0, (125.0, 200.0))
    assert percentile([0, 10], 0.95) == pytest.approx(9.5)


def test_the_words_of_what_the_media_violates() -> None:
    found = media_violations(LegReport(malformed=1, unknown_payload_type=2, seen_payload_type=96, rtcp_malformed=3))
    assert found == [
        "RTP: 1 datagrams on the RTP port are no RTP (RFC 3550 section 5.1)",
        "RTP: 2 packets of payload type 96, which was not negotiated",
        "RTCP: 3 datagrams on the RTCP port are no RTCP (RFC 3550 section 6)",
    ]
    assert media_violations(LegReport(rtcp_malformed=3)) == found[2:]


def test_a_call_is_measured_from_its_events() -> None:
    line = Line()
    invite = line.dial()
    line.now += 0.125
    line.receive(response(invite, tag="them", body=SDP, headers=("X-Trunkline-Call-Sid: v3:one",)))
    line.run(0.505)
    assert measure(line.core, line.now).duration_ms == 505
    for number in range(10):
        line.hear(number)
        line.core.audio.play(b"\x00\x20" * 320)
        line.run(0.02)
    line.hear(10, bytes((7, 0x80, 0x03, 0x20)), 101)
    line.core.receive_rtp(b"OPTIONS sip:x SIP/2.0\r\n\r\n", MEDIA, line.now)
    line.now += 0.005
    line.receive(peer_of(invite).request("BYE"))
    line.now += 5
    found = measure(line.core, line.now)
    assert (found.uri, found.call_sid, found.codec, found.answered_ms, found.duration_ms) == (
        *(URI, "v3:one", "PCMU", 125.0),
        710.0,
    )
    assert (found.first_audio_ms, found.audible_ms, found.digits, found.said_ms) == (505.0, 200, "7", 200)
    assert (found.gaps.mean, found.gaps.stalls) == (20.0, ())
    assert (found.failure, found.status, found.ended_by, found.late_packets) == ("", None, "them", 0)
    assert found.violations == ("RTP: 1 datagrams on the RTP port are no RTP (RFC 3550 section 5.1)",)
    assert -20 < found.loudest_db < 0
    assert found.report is not None
    assert measure(line.core, line.now, begun=100.5).first_audio_ms == 130.0


@pytest.mark.parametrize(
    ("status", "failure", "refused"),
    [("486 Busy Here", "486 Busy Here, from ", 486), (None, "", None)],
)
def test_a_call_that_failed_has_the_status_of_a_response_alone(
    status: str | None, failure: str, refused: int | None
) -> None:
    line = Line()
    invite = line.dial()
    if status:
        line.receive(response(invite, status, "them"))
    else:
        line.run(40)
    found = measure(line.core, line.now)
    assert found.failure.startswith(failure)
    assert found.failure
    assert (found.failure.count(str(PEER.port)), found.status) == (1, refused)
    assert (found.answered_ms, found.duration_ms, found.first_audio_ms, found.codec) == (None, 0.0, None, "")


def test_what_was_not_placed_in_full() -> None:
    assert not_placed("sip:a@b", "no such host") == CallResult(
        uri="sip:a@b", call_sid="", codec="", answered_ms=None, duration_ms=0.0, first_audio_ms=None, audible_ms=0,
        loudest_db=SILENT, cleared_ms=(), digits="", gaps=Gaps(None, None, None, ()), said_ms=0, violations=(),
        failure="no such host", status=None, ended_by="", dropped=0, reordered=0, late_ms=(0.0, 0.0), late_packets=0,
        report=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ended_by", "first", "answered", "closed"),
    [
        ("them", None, 30.0, True),
        ("us", None, 30.0, False),
        ("them", 20.0, 30.0, False),
        ("them", None, None, False),
    ],
)
def test_a_call_was_closed_before_audio_by_the_other_side_alone(
    ended_by: str, first: float | None, answered: float | None, closed: bool
) -> None:
    result = replace(not_placed("sip:a@b", ""), ended_by=ended_by, first_audio_ms=first, answered_ms=answered)
    assert result.closed_before_audio is closed


@pytest.mark.parametrize(("late", "reliable"), [(RELIABLE_MS, True), (RELIABLE_MS + 0.01, False)])
def test_a_call_is_reliable_while_our_packets_leave_in_time(late: float, reliable: bool) -> None:
    assert replace(not_placed("sip:a@b", ""), late_ms=(late, 90.0)).is_reliable is reliable
