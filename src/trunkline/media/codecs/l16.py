"""Linear 16-bit audio (RFC 3551 section 4.5.11): samples as they are, in either byte order."""

from collections.abc import Callable

import numpy as np


def swap(samples: bytes) -> bytes:
    """The other byte order."""
    return np.frombuffer(samples, np.uint16).byteswap().tobytes()


def joiner(convert: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """For payloads that may end within a sample: its first byte waits for the next one. `convert` gets whole ones."""
    rest = b""

    def join(payload: bytes) -> bytes:
        nonlocal rest
        joined = rest + payload
        rest = joined[len(joined) & ~1 :]
        return convert(joined[: len(joined) & ~1])

    return join
