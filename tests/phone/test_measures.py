"""Numbers from what was heard and said: first sound, interruptions, gaps, violations."""

import pytest

from trunkline.media.report import LegReport
from trunkline.phone.audio import Loudness
from trunkline.phone.measures import (
    AudibleSpan,
    CallResult,
    Gaps,
    cleared_ms,
    first_audio_ms,
    gaps,
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
