"""Audio files to the bytes of a telephone codec, by libav. Costs tens of ms per file: not for the packet path.

The first frame of most files is a Xing or LAME header, from which libav's demuxer learns how many samples the encoder
put before and behind the audio; it leaves them out, so that files played one after another have no gap between them.
Frames that do not decode are skipped, as players do.
"""

from collections.abc import Generator, Iterator
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO

import av

from trunkline.errors import TrunklineError
from trunkline.media.codecs import CODECS

STEP = 32
"""Frames decoded between two yields: about 3 ms of work."""
BLOCK = 20
"""Milliseconds of audio encoded at once."""

PIECE = 500
"""Milliseconds of audio in what `decode_file` yields."""
CONTAINERS = "mp3,wav,w64,flac,ogg,aac,mov,matroska,aiff,au"
"""libav formats that hold audio; formats that refer to other files are not accepted."""

av.logging.set_level(av.logging.PANIC)


class UndecodableFile(TrunklineError):
    """The file has no decodable audio."""


class TooLong(TrunklineError):
    """More audio than `room`."""


def decode(data: bytes, codec: str, room: int) -> Generator[None, None, bytes]:
    """All of an mp3 file's audio as bytes of `codec`, mixed down to one channel; returned at the end, and yielding
    now and then so that several files can be decoded in turn. Raises UndecodableFile; TooLong for more than `room`
    bytes."""
    row = CODECS[codec]
    encode = row.encoder()
    block = row.sample_rate * BLOCK // 1000 * 2
    pcm, coded = bytearray(), bytearray()
    for number, samples in enumerate(_samples(_frames(BytesIO(data), "mp3"), row.sample_rate)):
        pcm += samples
        whole = len(pcm) // block * block
        coded += encode(bytes(pcm[:whole]))
        del pcm[:whole]
        if len(coded) > room:
            raise TooLong
        if number % STEP == STEP - 1:
            yield
    coded += encode(bytes(pcm) + bytes(-len(pcm) % 4))  # G.722 takes its samples by twos
    if not coded:
        raise UndecodableFile
    return bytes(coded)


def decode_file(path: Path, codec: str, times: int) -> Generator[bytes, None, bytes]:
    """A file's audio, `times` in a row (0: for ever) and without a gap, as bytes of `codec`, mixed down to one channel:
    in pieces of `PIECE`, the last of which is returned. An empty one only lets others have a turn. Raises
    UndecodableFile."""
    row = CODECS[codec]
    encode = row.encoder()
    block, size = row.sample_rate * BLOCK // 1000 * 2, row.bytes_per_ms * PIECE
    pcm, coded = bytearray(), bytearray()
    for _ in range(times) if times else count():
        empty = True
        for number, samples in enumerate(_samples(_frames_of(path), row.sample_rate)):
            empty = empty and not samples
            pcm += samples
            whole = len(pcm) // block * block
            coded += encode(bytes(pcm[:whole]))
            del pcm[:whole]
            while len(coded) >= size:
                yield bytes(coded[:size])
                del coded[:size]
            if number % STEP == STEP - 1:
                yield b""
        if empty:
            raise UndecodableFile("it holds no audio")
    coded += encode(bytes(pcm) + bytes(-len(pcm) % 4))
    return bytes(coded)


def _samples(frames: Iterator[av.AudioFrame], rate: int) -> Iterator[bytes]:
    """16-bit mono PCM, frame by frame."""
    resampler, shape = None, None
    for frame in frames:
        if shape != (frame.format.name, frame.layout.name, frame.sample_rate):
            yield from _resampled(resampler, None)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame.pts = None
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _resampled(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> Iterator[bytes]:
    """Output for a frame; None flushes the filter."""
    for out in resampler.resample(frame) if resampler else ():
        yield bytes(out.planes[0])[: out.samples * 2]


def _frames_of(path: Path) -> Iterator[av.AudioFrame]:
    try:
        with path.open("rb") as file:
            yield from _frames(file, None)
    except OSError as problem:
        raise UndecodableFile(problem.strerror or str(problem)) from None


def _frames(file: BinaryIO, container: str | None) -> Iterator[av.AudioFrame]:
    try:
        with av.open(file, "r", format=container, options={"format_whitelist": CONTAINERS}) as opened:
            stream = opened.streams.audio[0]
            for packet in opened.demux(stream):
                try:
                    yield from stream.decode(packet)
                except av.error.InvalidDataError:
                    continue
    except (av.error.FFmpegError, IndexError):
        raise UndecodableFile("it is no audio file that can be read") from None
