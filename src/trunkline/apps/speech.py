"""The words of the caller and of the test apps: by espeak-ng where it is installed, else a sound like speech."""

import shutil

from trunkline.demo import audio
from trunkline.media.codecs import CODECS
from trunkline.media.codecs.resample import resampler
from trunkline.phone import sounds
from trunkline.phone.sounds import NoSound

MADE_RATE = 8000
"""Samples a second of the sound that is generated."""
MS_PER_CHARACTER = 65
"""Of the generated sound, about what espeak-ng takes."""


def installed() -> bool:
    """There is a program that speaks words; without it a transcriber understands nothing."""
    return shutil.which(sounds.SPEAKER) is not None


def speak(text: str, rate: int) -> bytes:
    """16-bit little-endian mono PCM of a text at `rate` samples a second."""
    try:
        return sounds.speak(text, rate)
    except NoSound:
        return resampled(babble(len(text) * MS_PER_CHARACTER), MADE_RATE, rate)


def babble(milliseconds: int) -> bytes:
    """PCM at `MADE_RATE` of a sound that voice activity detectors take for speech."""
    return CODECS["PCMU"].decoder()(b"".join(audio.speech(max(1, milliseconds // audio.FRAME_MS))))


def resampled(pcm: bytes, source: int, target: int) -> bytes:
    """PCM at another rate."""
    pcm = pcm[: len(pcm) // 2 * 2]
    return pcm if source == target else resampler(source, target)(pcm)
