"""G.722: the library's, frame by frame, and the pattern that brings it to rest."""

import numpy as np
import pytest
from G722 import G722

from trunkline.media.codecs import CODECS, g722


def tone(frequency: float, rate: int, seconds: float = 1.0, amplitude: float = 8000) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * times)).astype("<i2").tobytes()


def frames(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def test_g722_is_the_librarys_with_its_state_kept_between_frames() -> None:
    pcm = tone(1000, 16000)
    codec, reference = CODECS["G722"], G722(16000, 64000)
    encode, decode = codec.encoder(), codec.decoder()
    expected = reference.encode(np.frombuffer(pcm, "<i2"))
    encoded = b"".join(encode(frame) for frame in frames(pcm, 640))
    assert encoded == expected
    assert b"".join(decode(frame) for frame in frames(encoded, 160)) == reference.decode(expected).tobytes()


def test_encoder_and_decoder_states_are_separate() -> None:
    pcm = tone(1000, 16000, 0.1)
    encode, decode = g722.encoder(), g722.decoder()
    first = encode(pcm)
    assert len(first) == len(pcm) // 4, "one byte for two samples"
    assert g722.encoder()(pcm) == first != encode(pcm)
    heard = decode(first)
    assert len(heard) == len(pcm)
    assert g722.decoder()(first) == heard != decode(first)


@pytest.mark.parametrize("amplitude", [100.0, 8000.0, 30000.0])
@pytest.mark.parametrize("frequency", [300, 1000, 6500])
def test_the_silence_pattern_settles_the_decoder(frequency: int, amplitude: float) -> None:
    encode, decode = g722.encoder(), g722.decoder()
    for frame in frames(tone(frequency, 16000, 0.4, amplitude), 640):
        decode(encode(frame))
    quiet = np.frombuffer(b"".join(decode(g722.SILENCE * 40) for _ in range(20)), "<i2")
    assert np.abs(quiet[-1600:].astype(int)).max() <= 32768 * 10 ** (-70 / 20)
