"""Packet loss concealment: continues the audio before a loss, fades, and joins the next audio without a click."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.media.audio.plc import Concealer

LONGEST_MS = 60

Pcm = NDArray[np.float64]


def voice(rate: int, hertz: float, count: int) -> Pcm:
    """A buzz with four harmonics, as of vowels, at -9 dBFS."""
    time = np.arange(count) / rate
    harmonics = [np.sin(2 * np.pi * hertz * n * time + n) / n for n in range(1, 5)]
    wave: Pcm = 6000 * np.sum(harmonics, axis=0)
    return wave


def pcm(signal: Pcm) -> bytes:
    return np.rint(signal).astype("<i2").tobytes()


def samples(data: bytes) -> Pcm:
    return np.frombuffer(data, "<i2").astype(np.float64)


def level(signal: Pcm) -> float:
    return float(np.sqrt(np.mean(signal**2)))


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("hertz", [90, 130, 210, 330])
def test_a_lost_packet_of_a_steady_voice_is_concealed(rate: int, hertz: float) -> None:
    packet = rate // 50
    signal = voice(rate, hertz, 8 * packet)
    concealer = Concealer(rate)
    heard = [concealer.heard(pcm(signal[n : n + packet])) for n in range(0, 5 * packet, packet)]
    heard.append(concealer.conceal(packet))
    heard += [concealer.heard(pcm(signal[n : n + packet])) for n in range(6 * packet, 8 * packet, packet)]
    got = samples(b"".join(heard))
    assert np.array_equal(got[: 5 * packet], np.rint(signal[: 5 * packet]))
    lost = slice(5 * packet, 6 * packet)
    # The 20 ms have nearly the level and shape of the voice; a gap would be an error of 0 dB.
    assert level(got[lost] - signal[lost]) < 0.35 * level(signal[lost])
    # No step that the voice itself does not have.
    assert max(abs(np.diff(got))) < 1.3 * max(abs(np.diff(signal)))
    assert np.array_equal(got[7 * packet :], np.rint(signal[7 * packet :]))


def test_a_long_loss_fades_to_silence_and_the_next_audio_fades_in() -> None:
    signal = voice(8000, 130, 1600)
    concealer = Concealer(8000)
    concealer.heard(pcm(signal[:800]))
    levels = [level(samples(concealer.conceal(80))) for _ in range(8)]
    assert levels[0] == pytest.approx(level(signal[:800]), rel=0.2)
    assert levels == sorted(levels, reverse=True)
    assert set(samples(concealer.conceal(160))) == {0.0}
    assert len(levels) * 10 > LONGEST_MS
    again = samples(concealer.heard(pcm(signal[800:960])))
    assert abs(again[0]) < 0.05 * max(abs(signal))
    assert np.array_equal(again[32:], np.rint(signal[832:960]))


def test_pieces_of_any_length_give_the_same_concealment() -> None:
    signal = voice(8000, 130, 800)
    whole, pieces = Concealer(8000), Concealer(8000)
    whole.heard(pcm(signal))
    for n in range(0, 800, 50):
        pieces.heard(pcm(signal[n : n + 50]))
    assert whole.conceal(320) == b"".join(pieces.conceal(size) for size in (1, 79, 160, 80))


@pytest.mark.parametrize("before", [b"", bytes(320), b"\xff\x7f" * 400, b"\x00\x80\xff\x7f" * 200])
def test_silence_extremes_and_nothing_at_all_are_concealed_too(before: bytes) -> None:
    concealer = Concealer(8000)
    concealer.heard(before)
    assert len(concealer.conceal(160)) == 320
    assert concealer.heard(b"") == b""
    assert len(concealer.heard(bytes(320))) == 320


@pytest.mark.parametrize("rate", [8000, 16000])
def test_concealment_begins_where_the_voice_stopped(rate: int) -> None:
    """A rising level: the last period begins lower than it ends, and the step between the two is smoothed away."""
    signal = voice(rate, 130, rate // 10) * np.linspace(0.2, 1, rate // 10) + 2000
    concealer = Concealer(rate)
    concealer.heard(pcm(signal))
    stand_in = samples(concealer.conceal(rate // 100))
    joined = np.concatenate((np.rint(signal), stand_in))
    largest = max(abs(np.diff(signal)))
    assert max(abs(np.diff(joined[len(signal) - 2 : len(signal) + 8]))) < 1.2 * largest


def test_a_pulse_every_ten_ms_is_continued_every_ten_ms() -> None:
    signal = np.tile(np.concatenate((np.full(8, 12000.0), np.full(72, -1200.0))), 10)
    concealer = Concealer(8000)
    concealer.heard(pcm(signal))
    stand_in = samples(concealer.conceal(160))
    assert np.array_equal(np.flatnonzero(stand_in > 6000) % 80, np.tile(np.arange(8), 2))
