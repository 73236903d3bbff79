"""The words of the caller and of the test apps: by espeak-ng where it is installed, else a sound like speech."""

import io
import shutil
import subprocess
import wave

from trunkline.confinement import environment
from trunkline.demo import audio
from trunkline.media.codecs import CODECS
from trunkline.media.codecs.resample import resampler

PROGRAM = "espeak-ng"
TIMEOUT = 20.0
"""Seconds that the program may take."""
MADE_RATE = 8000
"""Samples a second of the sound that is generated."""
MS_PER_CHARACTER = 65
"""Of the generated sound, about what espeak-ng takes."""


def installed() -> bool:
    """There is a program that speaks words; without it a transcriber understands nothing."""
    return shutil.which(PROGRAM) is not None


def speak(text: str, rate: int) -> bytes:
    """16-bit little-endian mono PCM of a text at `rate` samples a second."""
    try:
        spoken = subprocess.run(
            (PROGRAM, "--stdout", "--stdin"),
            input=text.encode(),
            env=environment(),
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        ).stdout
        return resampled(*read_wav(spoken), rate)
    except (OSError, subprocess.SubprocessError, wave.Error, EOFError):
        return resampled(babble(len(text) * MS_PER_CHARACTER), MADE_RATE, rate)


def babble(milliseconds: int) -> bytes:
    """PCM at `MADE_RATE` of a sound that voice activity detectors take for speech."""
    return CODECS["PCMU"].decoder()(b"".join(audio.speech(max(1, milliseconds // audio.FRAME_MS))))


def read_wav(data: bytes) -> tuple[bytes, int]:
    """The first channel of a 16-bit wav file, and its rate. Programs that write to a pipe state no true length. Raises
    wave.Error, EOFError."""
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != 2:
            raise wave.Error("not 16-bit")
        frames = file.readframes(file.getnframes())
        step = 2 * file.getnchannels()
        pcm = b"".join(frames[at : at + 2] for at in range(0, len(frames) - 1, step)) if step > 2 else frames
        return pcm, file.getframerate()


def resampled(pcm: bytes, source: int, target: int) -> bytes:
    """PCM at another rate."""
    pcm = pcm[: len(pcm) // 2 * 2]
    return pcm if source == target else resampler(source, target)(pcm)
