"""A wav file that grows and is complete at every moment: its header is put right after each piece, so that what a crash
leaves behind plays to its last piece.
"""

import contextlib
import os
import struct
from pathlib import Path

from trunkline.errors import TrunklineError

MEGABYTE = 1_000_000
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
"""RIFF, the size of what follows, WAVE; fmt of 16 bytes: PCM, channels, rate, bytes per second and per sample of all
channels, bits; data and its size."""

FLOOR_INTERVAL = 100
"""Pieces between two looks at the free disk."""
LONGEST = 0xFFFFFFFF - _HEADER.size
"""Bytes that its 32-bit sizes can express: 74 hours of one channel at 8 kHz."""


EMPTY = _HEADER.size
"""Bytes of a file without audio."""


def measured(path: Path) -> tuple[float, int]:
    """Seconds of audio and bytes of a file of ours; no seconds in any other. Raises OSError."""
    with path.open("rb") as file:
        head, size = file.read(EMPTY), os.fstat(file.fileno()).st_size
    if len(head) < EMPTY or not head.startswith(b"RIFF"):
        return 0.0, size
    per_second = _HEADER.unpack(head)[8]
    return (size - EMPTY) / max(1, per_second), size


def size_of(milliseconds: int, rate: int, channels: int) -> int:
    """Bytes of a file with so much audio."""
    return _HEADER.size + milliseconds * rate // 1000 * 2 * channels


class Unwritable(TrunklineError):
    """The file cannot be written (any more); what it holds plays."""


class WavFile:
    """16-bit PCM."""

    def __init__(self, path: Path, rate: int, channels: int, floor: int = 0) -> None:
        """Make it, or write over what is there. Of the disk `floor` bytes stay free. Raises Unwritable."""
        self._rate, self._channels = rate, channels
        self._floor = floor
        self._size = self._pieces = 0
        try:
            self._file = path.open("wb")
        except OSError as problem:
            raise Unwritable(_words(problem)) from None
        self.append(b"")

    def append(self, audio: bytes) -> None:
        """Add samples: little-endian, one of each channel in turn. Raises Unwritable, and is closed then."""
        size = self._size + len(audio)
        try:
            if size > LONGEST:
                raise Unwritable("the file is as long as a wav file can be")
            self._keep_free()
            self._file.seek(_HEADER.size + self._size)
            self._file.write(audio)
            self._file.flush()
            self._file.seek(0)
            self._file.write(self._header(size))
            self._file.flush()
        except (OSError, Unwritable) as problem:
            self.close()
            raise Unwritable(_words(problem)) from None
        self._size = size

    def _keep_free(self) -> None:
        if self._floor and self._pieces % FLOOR_INTERVAL == 0:
            disk = os.fstatvfs(self._file.fileno())
            if disk.f_bavail * disk.f_frsize < self._floor:
                raise Unwritable(f"less than {self._floor / MEGABYTE:g} MB of the disk are free")
        self._pieces += 1

    def close(self) -> None:
        """Complete as it is."""
        with contextlib.suppress(OSError):  # of what could not be written; the error was reported
            self._file.close()

    def _header(self, size: int) -> bytes:
        width = 2 * self._channels
        form = (16, 1, self._channels, self._rate, self._rate * width, width, 16)
        return _HEADER.pack(b"RIFF", _HEADER.size - 8 + size, b"WAVE", b"fmt ", *form, b"data", size)


def _words(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
