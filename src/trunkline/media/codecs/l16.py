"""Linear 16-bit audio (RFC 3551 section 4.5.11) in either byte order."""

from collections.abc import Callable, Iterator

import numpy as np

from trunkline.codecs import CodecRow, format_name
from trunkline.media.codecs.codec import Codec, Convert


def swap(samples: bytes) -> bytes:
    """The other byte order."""
    return np.frombuffer(samples, np.uint16).byteswap().tobytes()


def joiner(convert: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """For payloads that may end within a sample, whose first byte waits for the next payload. `convert` gets whole
    samples."""
    rest = b""

    def join(payload: bytes) -> bytes:
        nonlocal rest
        joined = rest + payload
        rest = joined[len(joined) & ~1 :]
        return convert(joined[: len(joined) & ~1])

    return join


def implement(row: CodecRow) -> Iterator[Codec]:
    """A format for each rate and byte order."""
    for rate in row.rates_from_app:
        yield _format(row, rate, "", bytes)
        yield _format(row, rate, "/big", swap)


def _format(row: CodecRow, rate: int, suffix: str, convert: Convert) -> Codec:
    whole = rate % 1000 == 0
    return Codec(
        format_name(row.name, rate) + suffix,
        rate,
        row.clock_rate(rate),
        bytes_per_ms=rate // 500 if whole else 0,
        silence=lambda ptime: bytes(rate * ptime // 1000 * 2),
        decoder=(lambda: convert) if whole else lambda: joiner(convert),
        encoder=lambda: convert,
        queued_as=None if whole else "L16/24000",
    )
