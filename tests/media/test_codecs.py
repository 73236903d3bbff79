"""The table of codecs: tones through every pair, and what holds for every row. Each codec's own tests: `codecs/`."""

import itertools
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.codecs import CALL_CODECS, CODEC_TABLE, CodecRow, format_name
from trunkline.media.codecs import CODECS, converter, socket_codec, transcoder

SAMPLES = np.arange(-32768, 32768, dtype=np.int64).astype("<i2").tobytes()
CUT = [name for name, codec in CODECS.items() if codec.bytes_per_ms]
"""Codecs whose payloads can be cut anywhere, in ms."""
PAIRS = [(src, dst) for src in CUT for dst in CUT if "big" not in src + dst]


def tone(frequency: float, rate: int, seconds: float = 1.0, amplitude: float = 8000) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * times)).astype("<i2").tobytes()


def frames(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def fit(pcm: bytes, frequency: float, rate: int) -> tuple[float, float]:
    """Amplitude of the tone, and its ratio to everything else in dB, once filters and predictors have latched."""
    signal = np.frombuffer(pcm, "<i2").astype(float)[rate // 10 :]
    times = np.arange(len(signal)) / rate
    basis = np.stack([np.sin(2 * np.pi * frequency * times), np.cos(2 * np.pi * frequency * times)], 1)
    weights, *_ = np.linalg.lstsq(basis, signal, rcond=None)
    found = basis @ weights
    rest = signal - found
    return float(np.hypot(*weights)), float(10 * np.log10((found @ found) / max(rest @ rest, 1e-9)))


@pytest.mark.parametrize(("src", "dst"), [(src, dst) for src in CODECS for dst in CODECS if "big" not in src + dst])
# 1020 Hz is the usual test tone: 1000 Hz meets only eight values at 8 kHz, so that G.711's steps distort it steadily.
@pytest.mark.parametrize("frequency", [441, 1020, 3011])
def test_a_tone_passes_every_pair_of_codecs(src: str, dst: str, frequency: int) -> None:
    source, target = CODECS[src], CODECS[dst]
    encode, convert, decode = source.encoder(), transcoder(src, dst).convert, target.decoder()
    pcm = tone(frequency, source.sample_rate, 0.5)
    passed = b"".join(decode(convert(encode(frame))) for frame in frames(pcm, source.sample_rate // 50 * 2))
    amplitude, ratio = fit(passed, frequency, target.sample_rate)
    # Blocks of 22.05 kHz fill up over packets; all others give what they got.
    missing = len(pcm) / source.sample_rate - len(passed) / target.sample_rate
    assert 0 <= missing < (0.007 if 22050 in (source.sample_rate, target.sample_rate) else 1e-9)
    assert amplitude == pytest.approx(8000, rel=0.03)
    assert ratio > 30


@pytest.mark.parametrize(("src", "dst"), PAIRS)
@pytest.mark.parametrize("ptime", [10, 20, 30, 60])
def test_each_payload_gives_one_of_the_same_duration(src: str, dst: str, ptime: int) -> None:
    convert = transcoder(src, dst).convert
    payload = CODECS[src].silence(ptime)
    assert [len(convert(payload)) for _ in range(5)] == [len(CODECS[dst].silence(ptime))] * 5


@given(st.sampled_from(PAIRS), st.randoms(use_true_random=False), st.lists(st.integers(0, 90), max_size=8))
def test_how_audio_is_cut_into_payloads_makes_no_difference(
    pair: tuple[str, str], random: Random, cuts: list[int]
) -> None:
    unit = CODECS[pair[0]].bytes_per_ms
    audio = random.randbytes(90 * unit)
    edges = [0, *sorted(cuts), 90]
    pieces = [audio[a * unit : b * unit] for a, b in itertools.pairwise(edges)]
    convert = transcoder(*pair).convert
    assert b"".join(convert(piece) for piece in pieces) == transcoder(*pair).convert(audio)


@pytest.mark.parametrize("row", CODEC_TABLE.values(), ids=lambda row: row.name)
def test_every_row_of_the_table_has_an_encoder_and_a_decoder(row: CodecRow) -> None:
    for rate in row.rates_from_app:
        codec = CODECS[format_name(row.name, rate)]
        assert (codec.sample_rate, codec.clock_rate) == (rate, row.clock_rate(rate))
        pcm = codec.decoder()(codec.silence(20))
        assert len(pcm) == rate // 50 * 2
        assert len(codec.encoder()(pcm)) == len(codec.silence(20)) or codec.samples


def test_no_codec_is_implemented_without_a_row() -> None:
    rows = {format_name(row.name, rate) for row in CODEC_TABLE.values() for rate in row.rates_from_app}
    assert {name.removesuffix("/big") for name in CODECS} == rows


def test_equal_codecs_pass_the_very_bytes() -> None:
    payload = bytes(range(160))
    assert transcoder("G722", "G722").convert(payload) is payload


def test_between_equal_codecs_there_is_nothing_to_convert() -> None:
    assert converter("PCMU", "PCMU") is None
    convert = converter("PCMU", "PCMA")
    assert convert is not None
    assert convert(bytes(range(160))) == transcoder("PCMU", "PCMA").convert(bytes(range(160)))


def test_an_unknown_codec_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        transcoder("PCMU", "AMR")


@pytest.mark.parametrize("name", CODECS)
def test_an_indivisible_codec_is_queued_as_a_divisible_one(name: str) -> None:
    codec = CODECS[name]
    assert CODECS[codec.queued_as or name].bytes_per_ms
    assert (codec.queued_as is None) is bool(codec.bytes_per_ms)


# ---------------------------------------------------------------------- L16


def test_l16_has_the_byte_order_of_the_socket_and_the_same_samples() -> None:
    code = CODECS["PCMU"].encoder()(tone(1000, 8000))
    little, big = (transcoder("PCMU", socket_codec("L16/8000", order)).convert(code) for order in ("little", "big"))
    assert np.array_equal(np.frombuffer(little, "<i2"), np.frombuffer(big, ">i2"))
    assert little == CODECS["PCMU"].decoder()(code)
    assert transcoder("L16/8000/big", "PCMU").convert(big) == code
    assert socket_codec("PCMU", "big") == "PCMU"


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=8), st.sampled_from(["", "/big"]))
def test_l16_at_an_indivisible_rate_may_come_in_any_pieces(audio: bytes, cuts: list[int], order: str) -> None:
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    whole, pieces = (transcoder("L16/22050" + order, "L16/24000").convert for _ in range(2))
    assert b"".join(pieces(audio[a:b]) for a, b in itertools.pairwise(edges)) == whole(audio)


@pytest.mark.parametrize("name", CALL_CODECS)
@pytest.mark.parametrize("frequency", [100, 441, 2503, 3011])
def test_silence_is_silent_after_any_audio(name: str, frequency: int) -> None:
    codec = CODECS[name]
    decode = codec.decoder()
    encode = codec.encoder()
    for frame in frames(tone(frequency, codec.sample_rate, 0.4), codec.sample_rate // 50 * 2):
        decode(encode(frame))
    quiet = np.frombuffer(b"".join(decode(codec.silence(20)) for _ in range(20)), "<i2")
    assert np.abs(quiet[-codec.sample_rate // 10 :].astype(int)).max() <= 10


def test_each_row_matches_its_rfc() -> None:
    """RFC 3551 table 4, RFC 7587 section 4.1; L16 as RFC 3551 section 4.5.11 at rates of our own."""
    rows = {name: (row.sample_rate, row.clock_rate, row.bytes_per_ms, row.remembers) for name, row in CODECS.items()}
    linear = {
        f"L16/{rate}{order}": (rate, rate, 0 if rate == 22050 else rate // 500, False)
        for rate in (8000, 16000, 22050, 24000, 48000)
        for order in ("", "/big")
    }
    assert rows == {
        "PCMU": (8000, 8000, 8, False),
        "PCMA": (8000, 8000, 8, False),
        "G722": (16000, 8000, 8, True),
        "OPUS": (48000, 48000, 0, True),
        **linear,
    }
    queued = {name: row.queued_as for name, row in CODECS.items() if row.queued_as}
    assert queued == {"OPUS": "L16/48000", "L16/22050": "L16/24000", "L16/22050/big": "L16/24000"}


@pytest.mark.parametrize("name", CODECS)
def test_silence_has_the_duration_asked_for(name: str) -> None:
    row = CODECS[name]
    for ptime in (20, 40, 60):
        assert len(row.decoder()(row.silence(ptime))) == row.sample_rate * ptime // 1000 * 2
