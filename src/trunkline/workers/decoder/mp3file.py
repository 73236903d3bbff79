"""A program: `python -m trunkline.workers.decoder.mp3file WAV MP3` makes an mp3 file of a wav file of ours, at the
lowest priority, and ends. libav is loaded in its process alone."""

import os
import sys
import wave
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np

from trunkline.confinement import NotConfined, confine

BIT_RATE = 32_000
"""Bits per second and channel: speech sounds like the wav file's."""
_PIECE = 8000
"""Samples that are read at once."""


def encode(source: Path, target: Path) -> None:
    """Make `target`. Raises OSError, EOFError and wave.Error for what is no wav file, av.FFmpegError."""
    with wave.open(str(source), "rb") as wav, av.open(str(target), "w", format="mp3") as mp3:
        layout = "stereo" if wav.getnchannels() == 2 else "mono"
        stream = mp3.add_stream("libmp3lame", rate=wav.getframerate(), layout=layout)
        stream.bit_rate = BIT_RATE * wav.getnchannels()
        for frame in _frames(wav, layout):
            mp3.mux(stream.encode(frame))
        mp3.mux(stream.encode(None))


def _frames(wav: wave.Wave_read, layout: str) -> Iterator[av.AudioFrame]:
    at = 0
    while data := wav.readframes(_PIECE):
        samples = np.frombuffer(data, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.rate, frame.pts = wav.getframerate(), at
        at += frame.samples
        yield frame


if __name__ == "__main__":
    os.nice(19)
    with suppress(NotConfined):  # the decoder, which is confined in the same way, says so in the log
        confine(programs=False)
    encode(Path(sys.argv[1]), Path(sys.argv[2]))
