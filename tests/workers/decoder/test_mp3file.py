"""mp3 files made of recordings, as FFmpeg decodes them."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from trunkline.workers.decoder.mp3file import encode
from trunkline.workers.decoder.wavfile import WavFile


def sine(hertz: int, rate: int, seconds: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return 8000 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize(("rate", "tones"), [(8000, (440, 1000)), (16000, (440,))])
def test_it_has_the_channels_length_and_tones_of_the_wav_file(
    tmp_path: Path, rate: int, tones: tuple[int, ...]
) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "a.mp3"
    file = WavFile(source, rate, len(tones))
    file.append(np.column_stack([sine(one, rate, 3) for one in tones]).astype("<i2").tobytes())
    file.close()
    encode(source, target)
    with av.open(str(target)) as mp3:
        [stream] = mp3.streams
        assert isinstance(stream, av.AudioStream)
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("mp3float", rate, len(tones))
        heard = np.concatenate([frame.to_ndarray() for frame in mp3.decode(stream)], axis=1)
    assert heard.shape[1] / rate == pytest.approx(3, abs=0.2), "an encoder adds some frames"
    assert target.stat().st_size < source.stat().st_size / 3
    for side, hertz in zip(heard, tones, strict=True):
        middle = side[rate : 2 * rate]
        assert np.argmax(np.abs(np.fft.rfft(middle))) == pytest.approx(hertz, abs=2)


def test_what_is_no_wav_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no wav file")
    with pytest.raises(wave.Error):
        encode(tmp_path / "a.wav", tmp_path / "a.mp3")
