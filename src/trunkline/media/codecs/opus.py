"""Opus (RFC 6716) in packets as RTP carries them (RFC 7587): 48000 a second, mono, by libopus through PyAV.

A packet holds 2.5 to 120 ms, which its first bytes state; the decoder accepts them all. An encoder is opened for one
length: that of the first payload, or the shortest of Opus's lengths that is a multiple of it (60 ms for 30), in which
case some payloads yield nothing and a later one the packet.

Only the transform codec (CELT) encodes here, not the speech codec (SILK): tones keep a signal-to-noise ratio of 34 dB
instead of 7, it costs a third less, adds 2.5 ms instead of 6.5, and our packets of silence are CELT too, so that
nothing switches. It has no forward error correction, which the library's decoder would not use either: `useinbandfec`
is not offered.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction

from av import AudioFrame, CodecContext, FFmpegError, Packet

from trunkline.codecs import CodecRow
from trunkline.media.codecs.codec import Codec, UndecodablePacket

RATE = 48000
_BIT_RATE = 40000
"""The most that RFC 7587 section 3.1.1 advises for full-band speech."""
_LENGTHS = (120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760)
"""Samples in a packet: 2.5, 5, 10, 20, 40, 60, 80, 100, 120 ms."""
_OPTIONS = {"application": "lowdelay", "compression_level": "5"}
"""Above level 5 a packet costs a third more, and speech gains nothing."""

_NOTHING = b"\xff\xfe"
"""A frame of digital silence in CELT mode (RFC 6716 section 4.3: the flag `silence`)."""
_FRAMES = (*(480, 960, 1920, 2880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)
"""Samples in a frame, by the configuration (RFC 6716 section 3.1): of SILK, of both, of CELT."""
_TOC_10_MS = 0xF0
_TOC_20_MS = 0xF8
"""Mono, full band, one frame (RFC 6716 section 3.1)."""


def silence(ptime: int) -> bytes:
    """A packet of `ptime` ms, a multiple of ten up to 120, of silence."""
    toc, length = (_TOC_20_MS, 20) if ptime % 20 == 0 else (_TOC_10_MS, 10)
    count = ptime // length
    if count == 1:
        return bytes((toc,)) + _NOTHING
    return bytes((toc | 3, count)) + _NOTHING * count  # RFC 6716 section 3.2.5: so many frames of equal size


def samples(packet: bytes) -> int:
    """Samples in a packet, by its first two bytes (RFC 6716 section 3.1, 3.2). Raises UndecodablePacket."""
    if not packet:
        raise UndecodablePacket("an empty payload is no Opus packet")
    toc = packet[0]
    config, code = toc >> 3, toc & 3
    count = (1, 2, 2, packet[1] & 0x3F if len(packet) > 1 else 0)[code]
    found = count * _FRAMES[config]
    if not 0 < found <= _LENGTHS[-1]:
        raise UndecodablePacket("the payload is no Opus packet (RFC 6716 section 3)")
    return found


def decoder() -> Callable[[bytes], bytes]:
    """One packet to 16-bit little-endian samples. Raises UndecodablePacket."""
    context = CodecContext.create("libopus", "r")
    context.sample_rate, context.layout = RATE, "mono"
    context.open()

    def decode(packet: bytes) -> bytes:
        if not packet:  # the library would take it for the end of the stream
            raise UndecodablePacket("an empty payload is no Opus packet")
        try:
            frames = context.decode(Packet(packet))
        except FFmpegError:
            raise UndecodablePacket("the payload is no Opus packet (RFC 6716 section 3)") from None
        return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)

    return decode


def encoder() -> Callable[[bytes], bytes]:
    """16-bit little-endian samples to one packet, or to none while they do not fill one."""
    return _Encoder().encode


class _Encoder:
    def __init__(self) -> None:
        self._length = 0
        self._pending = b""

    def encode(self, pcm: bytes) -> bytes:
        samples = len(pcm) // 2
        if not samples:
            return b""
        if not self._length or self._length % samples:
            # Only ever longer: payloads of 20 and 30 ms in turn get one encoder, not one each.
            fitting = (length for length in _LENGTHS if length > self._length and length % samples == 0)
            self._open(next(fitting, _LENGTHS[-1]))
        pcm = self._pending + pcm
        size = 2 * self._length
        if len(pcm) < size:
            self._pending = pcm
            return b""
        self._pending = pcm[size : 2 * size]  # of a payload longer than any packet, the rest is lost
        frame = self._frame
        frame.planes[0].update(pcm[:size])
        self._sent += self._length
        frame.pts = self._sent
        return b"".join(map(bytes, self._context.encode(frame)))

    def _open(self, length: int) -> None:
        if length == self._length:
            return
        context = CodecContext.create("libopus", "w")
        context.sample_rate, context.layout, context.format = RATE, "mono", "s16"
        context.time_base = Fraction(1, RATE)
        context.bit_rate = _BIT_RATE
        context.options = {**_OPTIONS, "frame_duration": str(length / 48)}
        context.open()
        self._context = context
        self._frame = AudioFrame("s16", "mono", length)
        self._frame.sample_rate = RATE
        self._length = length
        self._sent = 0


def implement(row: CodecRow) -> Iterator[Codec]:
    """The codec of this row."""
    yield Codec(
        row.name,
        RATE,
        row.clock_rate(),
        bytes_per_ms=0,
        silence=silence,
        decoder=decoder,
        encoder=encoder,
        queued_as=f"L16/{RATE}",
        samples=samples,
        remembers=True,
    )
