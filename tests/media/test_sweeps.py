"""What is left of speech's band after every way from codec to codec, in packets of 20 ms."""

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.codecs import CALL_CODECS, CODEC_TABLE, format_name
from trunkline.media.codecs import CODECS, transcoder

SECONDS = 1.2
AMPLITUDE = 8000
SOCKETS = tuple(format_name(name, rate) for name, row in CODEC_TABLE.items() for rate in row.sample_rates)
WAYS = [
    *((call, socket) for call in CALL_CODECS for socket in SOCKETS if call != socket),
    *((socket, call) for call in CALL_CODECS for socket in (*SOCKETS, "L16/22050") if socket not in CALL_CODECS),
    ("L16/22050", "L16/24000"),
]

Signal = NDArray[np.float64]


def band(*names: str) -> float:
    """The top of the sweep: what the narrowest codec on the way has to carry, in Hz."""
    rate = min(CODECS[name].sample_rate for name in names)
    return 3400 if rate == 8000 else 7000


def sweep(times: Signal, top: float) -> NDArray[np.complex128]:
    """100 Hz to `top` within `SECONDS`, as a rotating pointer; its real part is the sound."""
    pointer: NDArray[np.complex128] = np.exp(2j * np.pi * (100 * times + (top - 100) / SECONDS * times**2 / 2))
    return pointer


def passed(src: str, dst: str, signal: Signal) -> Signal:
    """Through the encoder of `src`, a transcoder, and the decoder of `dst`, packet by packet."""
    convert, decode = transcoder(src, dst).convert, CODECS[dst].decoder()
    return joined(decode(convert(packet)) for packet in packets_of(src, signal))


def packets_of(name: str, signal: Signal) -> list[bytes]:
    encode, size = CODECS[name].encoder(), CODECS[name].sample_rate // 50 * 2
    pcm = np.rint(AMPLITUDE * signal).astype("<i2").tobytes()
    return [encode(pcm[i : i + size]) for i in range(0, len(pcm), size)]


def joined(packets: Iterable[bytes]) -> Signal:
    return np.frombuffer(b"".join(packets), "<i2").astype(float)


def fit(found: Signal, wanted: NDArray[np.complex128], size: int) -> Signal:
    """What is left of `found` when each window of `size` is freed of its share of `wanted`, of any gain and phase."""
    count = len(found) // size
    signal = found[: count * size].reshape(count, size, 1)
    pointer = wanted[: count * size].reshape(count, size)
    basis = np.stack((pointer.real, pointer.imag), 2)
    weights = np.linalg.solve(basis.transpose(0, 2, 1) @ basis, basis.transpose(0, 2, 1) @ signal)
    return (signal - basis @ weights).reshape(-1)


def rest(found: Signal, rate: int, top: float) -> tuple[Signal, Signal]:
    """The sweep and what is not the sweep, once the delay is found; both from 0.1 s on, windows across packets."""
    start, stop = rate // 10, int(rate * (SECONDS - 0.1))
    stop -= (stop - start) % (rate // 50)
    times = np.arange(len(found)) / rate
    size = 1 << (2 * len(found)).bit_length()
    likeness = np.abs(np.fft.ifft(np.fft.fft(found, size) * np.fft.fft(sweep(times, top), size).conj()))
    around = float(np.argmax(likeness[: rate // 20])) / rate
    # Windows begin in mid-packet, so that a click at a packet's border is within one.
    cut = slice(start + rate // 100, stop + rate // 100)
    trials = [
        fit(found[cut], sweep(times[cut] - around - shift / rate, top), rate // 50)
        for shift in np.linspace(-0.6, 0.6, 7)
    ]
    return found[cut], min(trials, key=lambda trial: float(trial @ trial))


def decibels(signal: Signal, noise: Signal) -> float:
    return float(10 * np.log10(float(signal @ signal) / max(float(noise @ noise), 1e-9)))


def at_borders(noise: Signal, rate: int) -> float:
    """The noise within half a millisecond of packet borders, relative to all of it; 1 is even."""
    packet = rate // 50
    near = np.abs(np.arange(len(noise)) % packet - packet // 2) <= packet // 40  # the noise begins in mid-packet
    return float(np.sqrt((noise[near] ** 2).mean() / (noise**2).mean()))


def bound(src: str, dst: str) -> float:
    """Signal to noise in dB. Opus and G.722 hide their noise behind the sound, G.711 has but 8 bits."""
    if "OPUS" in (src, dst):
        return 20
    if "G722" in (src, dst):
        return 24
    return 35 if {src, dst} & {"PCMU", "PCMA"} else 60


@pytest.mark.parametrize(("src", "dst"), WAYS)
def test_a_sweep_passes_without_clicks(src: str, dst: str) -> None:
    rate, top = CODECS[src].sample_rate, band(src, dst)
    found = passed(src, dst, sweep(np.arange(int(SECONDS * rate)) / rate, top).real)
    signal, noise = rest(found, CODECS[dst].sample_rate, top)
    assert np.sqrt(2 * (signal**2).mean()) == pytest.approx(AMPLITUDE, rel=0.15)
    assert decibels(signal, noise) > bound(src, dst)
    assert at_borders(noise, CODECS[dst].sample_rate) < 1.5


def test_a_filter_without_state_between_packets_is_noticed() -> None:
    signal = sweep(np.arange(int(SECONDS * 8000)) / 8000, 3400).real
    found = joined(transcoder("PCMU", "L16/16000").convert(packet) for packet in packets_of("PCMU", signal))
    wanted, noise = rest(found, 16000, 3400)
    assert decibels(wanted, noise) < bound("PCMU", "L16/16000")
    assert at_borders(noise, 16000) > 1.5
