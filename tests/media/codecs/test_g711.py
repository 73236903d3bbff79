"""G.711, exactly: against the formulas of the recommendation and the standard library's implementation."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from trunkline.media.codecs import CODECS, g711, transcoder

SAMPLES = np.arange(-32768, 32768, dtype=np.int64).astype("<i2").tobytes()


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
