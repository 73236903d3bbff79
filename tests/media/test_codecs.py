"""Codecs: exactness of G.711, G.722 against the library, and tones through every pair."""

import itertools
import warnings
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from G722 import G722
from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.codecs import CODECS, g711, socket_codec, transcoder

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
    """Amplitude of the tone, and its ratio to everything else in dB, once filters and predictors have settled."""
    signal = np.frombuffer(pcm, "<i2").astype(float)[rate // 10 :]
    times = np.arange(len(signal)) / rate
    basis = np.stack([np.sin(2 * np.pi * frequency * times), np.cos(2 * np.pi * frequency * times)], 1)
    weights, *_ = np.linalg.lstsq(basis, signal, rcond=None)
    found = basis @ weights
    rest = signal - found
    return float(np.hypot(*weights)), float(10 * np.log10((found @ found) / max(rest @ rest, 1e-9)))


# ---------------------------------------------------------------------- G.711


def ulaw_level(code: int) -> int:
    """G.711 table 2: sign, segment s, step m: the level is (2m + 33) 2^s - 33, here times 4 for 16 bits."""
    code = ~code & 0xFF
    level = (((2 * (code & 15) + 33) << (code >> 4 & 7)) - 33) * 4
    return -level if code & 0x80 else level


def alaw_level(code: int) -> int:
    """G.711 table 1: in segment 0 the level is 2m + 1, in segment s (2m + 33) 2^(s-1), here times 8 for 16 bits."""
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 15
    level = (2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)) * 8
    return level if code & 0x80 else -level


@pytest.mark.parametrize(("name", "level"), [("PCMU", ulaw_level), ("PCMA", alaw_level)])
def test_g711_decodes_each_code_to_the_level_of_the_itu_formula(name: str, level: Callable[[int], int]) -> None:
    decoded = np.frombuffer(CODECS[name].decoder()(bytes(range(256))), "<i2")
    assert decoded.tolist() == [level(code) for code in range(256)]


def ulaw_step(code: int) -> tuple[int, int]:
    """G.711 table 2: the decision values, 14 bits, that bound a code's step; the outermost has no upper one."""
    code = ~code & 0xFF
    segment, step = code >> 4 & 7, code & 15
    upper = (2 * step + 34) * 2**segment - 33
    return (2 * step + 32) * 2**segment - 33, 1 << 20 if code & 0x7F == 0x7F else upper


def alaw_step(code: int) -> tuple[int, int]:
    """G.711 table 1: the decision values, 13 bits, that bound a code's step."""
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 15
    if segment == 0:
        return 2 * step, 2 * step + 2
    return (2 * step + 32) * 2 ** (segment - 1), (2 * step + 34) * 2 ** (segment - 1)


@pytest.mark.parametrize(
    ("name", "shift", "step", "sign"), [("PCMU", 2, ulaw_step, 0x80), ("PCMA", 3, alaw_step, 0x80)]
)
def test_g711_encodes_each_sample_to_the_step_of_the_itu_tables(
    name: str, shift: int, step: Callable[[int], tuple[int, int]], sign: int
) -> None:
    codes = CODECS[name].encoder()(SAMPLES)
    for sample, code in zip(range(-32768, 32768), codes, strict=True):
        magnitude = (~sample if sample < 0 else sample) >> shift
        lower, upper = step(code)
        assert lower <= magnitude < upper
        assert bool(code & sign) == (sample >= 0)


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_g711_codes_survive_decoding_and_encoding(name: str) -> None:
    codec = CODECS[name]
    again = codec.encoder()(codec.decoder()(bytes(range(256))))
    # Mu-law has two zeros; the negative one becomes the positive one.
    expected = bytes(0xFF if name == "PCMU" and code == 0x7F else code for code in range(256))
    assert again == expected


def test_g711_agrees_with_the_standard_librarys_implementation() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop")
    everything = bytes(range(256))
    assert CODECS["PCMU"].decoder()(everything) == audioop.ulaw2lin(everything, 2)
    assert CODECS["PCMA"].decoder()(everything) == audioop.alaw2lin(everything, 2)
    assert CODECS["PCMA"].encoder()(SAMPLES) == audioop.lin2alaw(SAMPLES, 2)
    ours, theirs = (
        np.frombuffer(x, np.uint8) for x in (CODECS["PCMU"].encoder()(SAMPLES), audioop.lin2ulaw(SAMPLES, 2))
    )
    # It negates where G.191 complements: one step apart, and only on negative decision values.
    differ = np.nonzero(ours != theirs)[0]
    assert (differ < 32768).all()
    assert len(differ) <= 128 * 4


def test_the_two_laws_convert_code_by_code_as_decoding_and_encoding_would() -> None:
    everything = bytes(range(256))
    pcmu, pcma = CODECS["PCMU"], CODECS["PCMA"]
    assert transcoder("PCMU", "PCMA").convert(everything) == pcma.encoder()(pcmu.decoder()(everything))
    assert transcoder("PCMA", "PCMU").convert(everything) == pcmu.encoder()(pcma.decoder()(everything))
    assert len(g711.ULAW_TO_ALAW) == len(g711.ALAW_TO_ULAW) == 256


# ---------------------------------------------------------------------- G.722


def test_g722_is_the_librarys_with_its_state_kept_between_frames() -> None:
    pcm = tone(1000, 16000)
    codec, reference = CODECS["G722"], G722(16000, 64000)
    encode, decode = codec.encoder(), codec.decoder()
    expected = reference.encode(np.frombuffer(pcm, "<i2"))
    encoded = b"".join(encode(frame) for frame in frames(pcm, 640))
    assert encoded == expected
    assert b"".join(decode(frame) for frame in frames(encoded, 160)) == reference.decode(expected).tobytes()


# ---------------------------------------------------------------------- all


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


def test_equal_codecs_pass_the_very_bytes() -> None:
    payload = bytes(range(160))
    assert transcoder("G722", "G722").convert(payload) is payload


def test_an_unknown_codec_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        transcoder("PCMU", "AMR")


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_that_cannot_be_cut_is_queued_as_one_that_can(name: str) -> None:
    codec = CODECS[name]
    assert CODECS[codec.queued_as or name].bytes_per_ms
    assert (codec.queued_as is None) is bool(codec.bytes_per_ms)


# ---------------------------------------------------------------------- L16


def test_the_byte_order_of_l16_is_the_sockets_and_the_bytes_are_the_same_otherwise() -> None:
    code = CODECS["PCMU"].encoder()(tone(1000, 8000))
    little, big = (transcoder("PCMU", socket_codec("L16/8000", order)).convert(code) for order in ("little", "big"))
    assert np.array_equal(np.frombuffer(little, "<i2"), np.frombuffer(big, ">i2"))
    assert little == CODECS["PCMU"].decoder()(code)
    assert transcoder("L16/8000/big", "PCMU").convert(big) == code
    assert socket_codec("PCMU", "big") == "PCMU"


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=8), st.sampled_from(["", "/big"]))
def test_l16_at_a_rate_that_cannot_be_cut_may_come_in_any_pieces(audio: bytes, cuts: list[int], order: str) -> None:
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    whole, pieces = (transcoder("L16/22050" + order, "L16/24000").convert for _ in range(2))
    assert b"".join(pieces(audio[a:b]) for a, b in itertools.pairwise(edges)) == whole(audio)


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "OPUS"])
@pytest.mark.parametrize("frequency", [100, 441, 2503, 3011])
def test_silence_is_silent_whatever_was_before(name: str, frequency: int) -> None:
    codec = CODECS[name]
    decode = codec.decoder()
    encode = codec.encoder()
    for frame in frames(tone(frequency, codec.sample_rate, 0.4), codec.sample_rate // 50 * 2):
        decode(encode(frame))
    quiet = np.frombuffer(b"".join(decode(codec.silence(20)) for _ in range(20)), "<i2")
    assert np.abs(quiet[-codec.sample_rate // 10 :].astype(int)).max() <= 10
