"""The wire between a media worker and its decoder process: msgpack-encoded structs, tagged by name, over `link.py`."""

import msgspec

from trunkline.workers.messages import Said, SetLog


class Decode(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Decoded` or `Undecoded`, unless it is cancelled."""

    job: int
    codec: str
    room: int
    """Bytes of `codec` that may come of it."""
    data: bytes
    """The frames of an mp3 file."""
    account: str = ""
    """Whose file it is: accounts take turns."""


class DecodeFile(msgspec.Struct, frozen=True, tag=True):
    """Answered by so many `DecodedPiece`s as were asked for here and by `More`, the last by `Decoded`; or by
    `Undecoded`."""

    job: int
    codec: str
    path: str
    times: int
    """The file, over and over; 0 = until cancelled."""
    pieces: int
    account: str = ""
    """As in `Decode`."""


class More(msgspec.Struct, frozen=True, tag=True):
    """One piece more of a `DecodeFile`."""

    job: int


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Forget a job; one that is answered already is ignored."""

    job: int


class WriteFile(msgspec.Struct, frozen=True, tag=True):
    """Make a wav file; each order about it is answered by `Wrote`, the last by `Written`."""

    job: int
    path: str
    rate: int
    channels: int
    floor: int = 0
    """Bytes of the disk that stay free."""


class Append(msgspec.Struct, frozen=True, tag=True):
    """More of it."""

    job: int
    audio: bytes
    """16-bit PCM, one sample of each channel in turn."""


class FinishFile(msgspec.Struct, frozen=True, tag=True):
    """That was all of it."""

    job: int


class DecodedPiece(msgspec.Struct, frozen=True, tag=True):
    """Some of a file."""

    job: int
    audio: bytes


class Decoded(msgspec.Struct, frozen=True, tag=True):
    """The whole file, or the rest of it."""

    job: int
    audio: bytes


class Undecoded(msgspec.Struct, frozen=True, tag=True):
    """Nothing came of it."""

    job: int
    too_long: bool
    """It is longer than `room`; else it holds no audio."""
    detail: str = ""


class Wrote(msgspec.Struct, frozen=True, tag=True):
    """What was sent is in the file."""

    job: int


class Written(msgspec.Struct, frozen=True, tag=True):
    """The file is complete, or nothing more can be written to it."""

    job: int
    error: str | None


class Decoding(msgspec.Struct, frozen=True, tag=True):
    """Sent every second while there is work, as the sign of life."""


ToDecoder = SetLog | Decode | DecodeFile | More | Cancel | WriteFile | Append | FinishFile
FromDecoder = DecodedPiece | Decoded | Undecoded | Wrote | Written | Decoding | Said

DECODER_BACKLOG = 64 * 1024 * 1024
"""Bytes of files in the decoder; one more is refused. The largest message holds 6 MB of mp3."""
