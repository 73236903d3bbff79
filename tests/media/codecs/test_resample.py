"""The resampler: the right number of samples for any frames, and no new frequencies."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.media.codecs.resample import resampler

RATES = (8000, 16000, 24000, 48000)
CHANGES = list(itertools.permutations(RATES, 2))


def tone(frequency: float, rate: int) -> bytes:
    times = np.arange(rate) / rate
    return bytes(np.rint(8000 * np.sin(2 * np.pi * frequency * times)).astype("<i2"))


def through(source: int, target: int, pcm: bytes, milliseconds: float) -> bytes:
    resample, size = resampler(source, target), int(source * milliseconds / 1000) * 2
    return b"".join(resample(pcm[i : i + size]) for i in range(0, len(pcm), size))


@pytest.mark.parametrize(("source", "target"), CHANGES)
@pytest.mark.parametrize("ptime", [2.5, 10, 20, 30, 60])
def test_each_frame_gives_one_of_the_same_duration(source: int, target: int, ptime: float) -> None:
    resample = resampler(source, target)
    frame = bytes(int(source * ptime / 1000) * 2)
    assert [len(resample(frame)) for _ in range(5)] == [int(target * ptime / 1000) * 2] * 5


@pytest.mark.parametrize(("source", "target"), [*CHANGES, (22050, 24000)])
def test_frame_by_frame_is_the_same_as_at_once(source: int, target: int) -> None:
    noise: NDArray[np.int16] = np.random.default_rng(1).integers(-9000, 9000, 4800).astype("<i2")
    assert through(source, target, noise.tobytes(), 5) == resampler(source, target)(noise.tobytes())


@pytest.mark.parametrize(("source", "target"), [(16000, 8000), (24000, 16000), (48000, 16000), (48000, 8000)])
def test_frequencies_that_would_alias_are_filtered_out(source: int, target: int) -> None:
    for frequency in np.arange(0.62 * target, source / 2, 0.07 * target):
        aliased = np.frombuffer(through(source, target, tone(frequency, source), 20), "<i2").astype(float)
        assert np.sqrt((aliased[target // 20 :] ** 2).mean()) < 8000 / 1.41 / 1000  # 60 dB down


@pytest.mark.parametrize(("source", "target"), [(8000, 16000), (8000, 48000), (16000, 24000), (22050, 24000)])
def test_a_constant_stays_what_it_is(source: int, target: int) -> None:
    constant = np.full(source // 10, 12345, "<i2").tobytes()
    latched = np.frombuffer(resampler(source, target)(constant), "<i2")[target // 50 :]
    assert set(latched.tolist()) == {12345}


def test_the_delay_is_two_milliseconds_at_eight_kilohertz() -> None:
    impulse = np.zeros(800, "<i2")
    impulse[100] = 20000
    for target in RATES[1:]:
        found = np.frombuffer(resampler(8000, target)(impulse.tobytes()), "<i2")
        assert np.argmax(found) / target == pytest.approx(100 / 8000 + 0.002, abs=1.1 / 8000)


def test_loud_input_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(1600) // 8 % 2, 32767, -32768).astype("<i2").tobytes()
    doubled = np.frombuffer(resampler(8000, 16000)(square), "<i2").astype(int)
    assert doubled.max() == 32767
    assert np.abs(np.diff(doubled)).max() < 60000


def test_nothing_gives_nothing() -> None:
    assert resampler(8000, 48000)(b"") == b""
