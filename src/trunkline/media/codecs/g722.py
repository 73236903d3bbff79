"""G.722 at 64 kbit/s (ITU-T G.722): 16000 samples a second, one byte for two of them. Stateful, by the G722 library."""

from array import array
from collections.abc import Callable, Iterator

from G722 import G722

from trunkline.codecs import CodecRow
from trunkline.media.codecs.codec import Codec, repeated

SILENCE = bytes.fromhex("df7effff")
"""Codes of near silence that bring the decoder's predictors to rest. Measured: after tones and noise of all levels the
output ends below -70 dBFS, where one repeated code leaves a tone at up to -54."""

_RATE = 16000
_BIT_RATE = 64000


def decoder() -> Callable[[bytes], bytes]:
    """Codes to 16-bit little-endian samples."""
    decode = G722(_RATE, _BIT_RATE).decode
    return lambda payload: bytes(decode(payload).tobytes())


def encoder() -> Callable[[bytes], bytes]:
    """16-bit little-endian samples, an even number of them, to codes."""
    encode = G722(_RATE, _BIT_RATE).encode
    return lambda pcm: bytes(encode(array("h", pcm)))


def implement(row: CodecRow) -> Iterator[Codec]:
    """The codec of this row."""
    yield Codec(
        row.name,
        row.sample_rates[0],
        row.clock_rate(),
        bytes_per_ms=8,
        silence=repeated(SILENCE, 8),
        decoder=decoder,
        encoder=encoder,
        remembers=True,
    )
