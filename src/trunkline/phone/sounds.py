"""Audio for a caller: files of any kind that libav reads, text that espeak-ng speaks, and wav files of what was heard
(driver). All PCM is 16-bit little-endian mono.
"""

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

from trunkline.confinement import environment
from trunkline.media.audio.decoding import UndecodableFile, decode_file
from trunkline.phone.values import PhoneError

SPEAKER = "espeak-ng"
"""Program that speaks."""
SPEAK_TIMEOUT = 30.0
"""Seconds that it may take for a text."""


class NoSound(PhoneError):
    """There is no such audio; the text says why."""


def load(path: Path, rate: int) -> bytes:
    """The audio of a file as PCM of `rate`. Raises NoSound."""
    pieces = decode_file(path, f"L16/{rate}", 1)
    pcm = bytearray()
    try:
        while True:
            pcm += next(pieces)
    except StopIteration as end:
        return bytes(pcm + end.value)
    except UndecodableFile as error:
        raise NoSound(f"{path}: {error}") from None


def speak(text: str, rate: int, speaker: str | None = None) -> bytes:
    """A text, spoken by `SPEAKER` or another program, as PCM of `rate`. Raises NoSound."""
    speaker = speaker or SPEAKER
    program = shutil.which(speaker)
    if program is None:
        raise NoSound(f"{speaker} is not installed, so nothing can be spoken (Debian: apt install espeak-ng)")
    with tempfile.TemporaryDirectory(prefix="trunkline-") as directory:
        path = Path(directory, "said.wav")
        try:
            subprocess.run(
                [program, "-w", str(path), "--stdin"],
                input=text.encode() + b"\n",
                env=environment(),
                check=True,
                capture_output=True,
                timeout=SPEAK_TIMEOUT,
            )
        except subprocess.CalledProcessError as error:
            raise NoSound(f"{speaker}: {error.stderr.decode(errors='replace').strip()[:200]}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoSound(f"{speaker}: {error}") from None
        return load(path, rate)


def save(path: Path, pcm: bytes, rate: int) -> None:
    """Write a wav file. Raises NoSound."""
    try:
        with path.open("wb") as opened, wave.open(opened, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm)
    except OSError as error:
        raise NoSound(f"{path}: {error.strerror}") from None
