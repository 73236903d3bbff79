"""An mp3 file to the bytes of a telephone codec, by libav. Costs tens of ms per file: not for the packet path.

The first frame of most files is a Xing or LAME header, from which libav's demuxer learns how many samples the encoder
put before and behind the audio; it leaves them out, so that files played one after another have no gap between them.
A frame that does not decode is left out, as players do.
"""

from collections.abc import Generator, Iterator
from io import BytesIO

import av

from trunkline.errors import TrunklineError
from trunkline.media.codecs import CODECS

STEP = 32
"""Frames decoded between two yields: about 3 ms of work."""
BLOCK = 20
"""Milliseconds of audio encoded at once."""

av.logging.set_level(av.logging.PANIC)


class Undecodable(TrunklineError):
    """No audio could be made of it."""


class TooLong(TrunklineError):
    """More audio than there is room for."""


def decode(data: bytes, codec: str, room: int) -> Generator[None, None, bytes]:
    """All of an mp3 file's audio as bytes of `codec`, mixed down to one channel; returned at the end, and yielding
    now and then so that several files can be decoded in turn. Raises Undecodable; TooLong for more than `room` bytes.
    """
    row = CODECS[codec]
    encode = row.encoder()
    block = row.sample_rate * BLOCK // 1000 * 2
    pcm, coded = bytearray(), bytearray()
    for number, samples in enumerate(_samples(data, row.sample_rate)):
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
        raise Undecodable
    return bytes(coded)


def _samples(data: bytes, rate: int) -> Iterator[bytes]:
    """16-bit mono PCM, frame by frame."""
    resampler, shape = None, None
    for frame in _frames(data):
        if shape != (frame.format.name, frame.layout.name, frame.sample_rate):
            yield from _resampled(resampler, None)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame.pts = None
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _resampled(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> Iterator[bytes]:
    """What comes out for a frame; None brings what the filter still holds."""
    for out in resampler.resample(frame) if resampler else ():
        yield bytes(out.planes[0])[: out.samples * 2]


def _frames(data: bytes) -> Iterator[av.AudioFrame]:
    try:
        with av.open(BytesIO(data), "r", format="mp3") as container:
            stream = container.streams.audio[0]
            for packet in container.demux(stream):
                try:
                    yield from stream.decode(packet)
                except av.error.InvalidDataError:
                    continue
    except (av.error.FFmpegError, IndexError) as problem:
        raise Undecodable(str(problem)) from None
