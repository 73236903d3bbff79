"""A leg's audio for those who listen in: both tracks side by side, each frame at its time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.live.listening import RATE as RATE_SAID
from trunkline.media.audio.listen import AHEAD_MS, KEPT, LATE_MS, PIECE_MS, RATE, LegEar
from trunkline.media.codecs import CODECS

LOUD, QUIET = b"\x80" * 160, b"\xff" * 160


def ear(codec: str = "PCMU") -> LegEar:
    made = LegEar()
    made.leg_changed(codec, 20)
    return made


def tracks(pcm: bytes) -> NDArray[np.int16]:
    """Columns: inbound, outbound."""
    return np.frombuffer(pcm, "<i2").reshape(-1, 2)


def test_the_rate_is_the_one_that_clients_are_given() -> None:
    assert RATE == RATE_SAID


def test_both_tracks_lie_side_by_side_at_their_times() -> None:
    one = ear()
    for number in range(20):
        one.outbound_frame(LOUD if number < 5 else QUIET, 1000 + number * 20)
        one.inbound_frame(LOUD if number >= 10 else QUIET, 1000 + number * 20, 0)
    at, pcm = one.take()
    assert (at, len(pcm)) == (1000, (400 - LATE_MS) * RATE // 1000 * 4)
    loud = np.abs(tracks(pcm).astype(int)) > 1000
    heard, said = (np.flatnonzero(loud[:, side]) / RATE * 1000 for side in (0, 1))
    # A resampler adds some ms.
    assert (heard[0], said[-1]) == (pytest.approx(200, abs=4), pytest.approx(100, abs=4))
    assert one.take() == (1300, b"")


def test_pieces_follow_each_other_and_what_is_lost_is_silence() -> None:
    one, all_pcm, expected = ear(), b"", 0
    for number in range(50):
        one.outbound_frame(QUIET, number * 20)
        if number % 5:
            one.inbound_frame(LOUD, number * 20, 0)
        if number % 7 == 6:
            at, pcm = one.take()
            assert at == expected
            expected += len(pcm) // 4 * 1000 // RATE
            all_pcm += pcm
    silent = np.flatnonzero(np.abs(tracks(all_pcm)[:, 0].astype(int)) < 1000) / RATE * 1000
    length = len(all_pcm) // 4 * 1000 // RATE
    assert {int(at) // 100 * 100 for at in silent} == set(range(0, length, 100))
    assert np.all(silent % 100 < 24)


def test_a_frame_that_comes_too_late_is_dropped() -> None:
    one = ear()
    for number in range(20):
        one.outbound_frame(QUIET, number * 20)
    one.take()
    one.inbound_frame(LOUD, 100, 0)
    for number in range(20, 40):
        one.outbound_frame(QUIET, number * 20)
    _, pcm = one.take()
    assert not np.any(np.abs(tracks(pcm)[:, 0].astype(int)) > 1000)


def test_after_a_long_gap_it_goes_on_there() -> None:
    one = ear()
    for number in range(10):
        one.outbound_frame(QUIET, number * 20)
    one.take()
    later = 200 + AHEAD_MS
    for number in range(10):
        one.outbound_frame(LOUD, later + number * 20)
    at, pcm = one.take()
    assert at == later
    assert len(pcm) == (200 - LATE_MS) * RATE // 1000 * 4


def test_one_who_takes_nothing_for_long_gets_the_newest() -> None:
    one = ear()
    for number in range(KEPT + 50):
        one.outbound_frame(QUIET, number * 20)
    at, pcm = one.take()
    end = (KEPT + 50) * 20 - LATE_MS
    assert (at, len(pcm)) == (end - PIECE_MS, PIECE_MS * RATE // 1000 * 4)
    assert one.take() == (end, b"")


def test_each_frame_is_decoded_in_its_own_codec() -> None:
    one = ear()
    pcm = (np.sin(2 * np.pi * 400 * np.arange(1600) / 16000) * 12000).astype("<i2").tobytes()
    wide = CODECS["G722"].encoder()(pcm)
    for number in range(5):
        one.outbound_frame(LOUD, number * 20)
        one.inbound_frame(LOUD, number * 20, 0)
    one.peer_changed("G722")
    for number in range(5, 20):
        one.outbound_frame(LOUD, number * 20)
        one.inbound_frame(wide[(number % 5) * 160 :][:160], number * 20, 0)
    _, taken = one.take()
    heard, said = tracks(taken).T.astype(int)
    assert abs(said[200:4000]).min() > 30_000
    assert abs(heard[200:1500]).min() > 30_000
    assert 6_000 < np.median(abs(heard[2000:4500])) < 13_000


def test_before_the_first_frame_there_is_nothing() -> None:
    assert ear().take() == (0, b"")
