"""What a bot's audio really is, where it is not what its codec says: a file instead of bare samples, PCM as PCMU, the
other byte order. Pure; used on some pieces of a stream's audio and on recordings, never per packet.

Files are recognised by their first bytes. Bare samples have none, so each piece is decoded in all ways: speech and
music change little from one sample to the next, and noise, which audio becomes when it is decoded in a wrong way, does.
The measure is `roughness`; the limits below come from espeak-ng's voices in each codec, and `tests/media/audio/
test_content.py` holds them.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trunkline.media.audio.mp3 import audio_start
from trunkline.media.codecs import CODECS
from trunkline.media.report import QUIET

PIECE = 1600
"""Bytes of a piece that are looked at, at most."""
LEAST_PIECE = 400
"""Bytes of a piece from which on it is looked at."""
VOTES = 3
"""Pieces that must agree, and half of all that are clear."""
NOISE_VOTES = 6
"""The same for noise of no known origin, and all but a tenth of all."""
SURE = 6
"""Pieces after which only rough ones are looked at in all ways."""
KEPT = 24
"""Pieces at which all counts are halved, so that the present counts more than the past."""
SOON = 60
"""Suspicious pieces after which the next one is looked at soon; it takes time, and some audio is noise."""

_ROUGH = 1.5
"""Roughness from which on a piece is suspicious; white noise has 2."""
_SMOOTH = 1.1
"""Roughness of audio at most."""
_SMOOTHER = 0.6
"""Of the roughness in the stream's codec, that of what it really is at most."""
_NOISE = (1.6, 2.6)
"""Roughness of white noise, in pieces that short."""
_FLAT = 0.4
"""Flatness of noise at least."""
_TONAL = 1e-6
"""Flatness of a tone at most, where the length is one of whole periods."""
_AUDIBLE = 32768**2 * 10 ** (QUIET / 10)
"""Power of a sample of audio that is not quiet."""


class Kind(StrEnum):
    """What the audio is."""

    WAV = "wav"
    MP3 = "mp3"
    OGG = "ogg"
    FLAC = "flac"
    WEBM = "webm"
    MP4 = "mp4"
    AU = "au"
    AIFF = "aiff"
    BASE64 = "base64"
    """Base64 of audio, encoded twice."""
    PCM16 = "pcm16"
    """16-bit samples, in a codec of one byte a sample."""
    BYTE_ORDER = "byte_order"
    """L16 in the other byte order."""
    PCMU = "pcmu"
    PCMA = "pcma"
    NOISE = "noise"
    """Nothing that is known; compressed or encrypted, or noise indeed."""


@dataclass(frozen=True, slots=True)
class Content:
    """A mistake in an app's audio."""

    kind: Kind
    words: str
    """What it is, for people: `a WAV file (16-bit PCM, 24000 Hz, 1 channel)`."""

    @property
    def certain(self) -> bool:
        """Not only probable."""
        return self.kind is not Kind.NOISE


def fix(kind: str, codec: str) -> str:
    """What to do about it, in a sentence or two; `codec` is the stream's, a name of `CODECS`."""
    name, rate = _spoken(codec)
    pcm = "Convert it to the stream's codec, or start the stream with BidirectionalCodec=L16 and its sample rate "
    rtp = f"In rtp mode a message holds bare {name} at {rate} Hz"
    match kind:
        case Kind.WAV:
            return f"{rtp}: leave out the header (to `data` and the 4 bytes behind it), and convert the rest."
        case Kind.MP3:
            return f"{rtp}: start the stream with BidirectionalMode=mp3, one whole file a message, or decode it first."
        case Kind.OGG | Kind.FLAC | Kind.WEBM | Kind.MP4 | Kind.AU | Kind.AIFF:
            return f"{rtp}, and no file: decode it first, or have the speech service send {name} or PCM."
        case Kind.BASE64:
            return "Encode the audio in base64 once: what the speech service sends may be base64 already."
        case Kind.PCM16:
            return pcm + "as BidirectionalSamplingRate."
        case Kind.BYTE_ORDER:
            order = "little" if codec.endswith("/big") else "big"
            return (
                f"Swap the two bytes of each sample, or set streams.l16_endian (or the stream's L16Endian) to {order}."
            )
        case Kind.PCMU | Kind.PCMA:
            return f"Convert it to {name}, or start the stream with BidirectionalCodec={kind.upper()}."
    return f"Is it {name} at {rate} Hz? Audio of G722, of a file or of an encrypted source is heard as noise."


def container(head: bytes) -> Content | None:
    """The file format whose first bytes these are; None for bare samples. An mp3 file needs about 1500 bytes to be
    recognised where it has no ID3 tag."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] in (b"WAVE", b""):
        return Content(Kind.WAV, f"a WAV file{_wav_format(head)}")
    for magic, at, kind, words in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return Content(kind, words)
    if len(head) >= 64 and not head[:PIECE].strip(_BASE64):
        return Content(Kind.BASE64, "base64 of audio, encoded twice")
    if audio_start(head) is not None:
        return Content(Kind.MP3, "an mp3 file")
    return None


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_MAGIC = (
    (b"ID3", 0, Kind.MP3, "an mp3 file"),
    (b"OggS", 0, Kind.OGG, "an Ogg file"),
    (b"fLaC", 0, Kind.FLAC, "a FLAC file"),
    (b"\x1aE\xdf\xa3", 0, Kind.WEBM, "a WebM file"),
    (b"ftyp", 4, Kind.MP4, "an MP4 file"),
    (b".snd", 0, Kind.AU, "an AU file"),
    (b"FORM", 0, Kind.AIFF, "an AIFF file"),
)
_WAV_CODECS = {1: "PCM", 3: "float", 6: "A-law", 7: "mu-law", 0xFFFE: "PCM"}
_WAV_FORMAT = struct.Struct("<HHIIHH")
"""Of the chunk `fmt `: format, channels, samples a second, bytes a second, block, bits."""


def _wav_format(head: bytes) -> str:
    at = head.find(b"fmt ", 12, 200) + 8
    if at < 20 or len(head) < at + _WAV_FORMAT.size:
        return ""
    code, channels, rate, _, _, bits = _WAV_FORMAT.unpack_from(head, at)
    plural = "" if channels == 1 else "s"
    return f" ({bits}-bit {_WAV_CODECS.get(code, f'format {code}')}, {rate} Hz, {channels} channel{plural})"


def roughness(pcm: bytes) -> float | None:
    """Power of the difference between neighbouring samples by that of the samples, without their mean: 0 to 4, and 2
    for white noise. `pcm` is 16-bit little-endian. None for what is inaudible, and for a constant."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float64)
    if len(samples) < 2:
        return None
    samples -= np.mean(samples)
    power = float(np.dot(samples, samples))
    step = np.diff(samples)
    return float(np.dot(step, step)) / power if power >= len(samples) * _AUDIBLE else None


_WAYS = ("PCMU", "PCMA", "L16/8000", "L16/8000/big")
"""In which a piece is decoded. Not as G.722, whose decoder makes speech-like sounds of anything."""
_LAWS = _WAYS[:2]


def _suspect(piece: bytes, codec: str, pcm: bytes, said: float, *, thorough: bool) -> tuple[Kind | None, bool]:
    """What one piece of audio, in the stream's `codec` `pcm` of the roughness `said`, seems to be instead, and whether
    it is clear that it is that, or nothing else. `thorough`: look in all ways also if it is not rough."""
    if not (thorough or said > _ROUGH):
        return None, said < _SMOOTH
    own = _way(codec)
    all_ways = {way: roughness(_decode(way, piece)) for way in _WAYS if way != own}
    found = {way: rough for way, rough in all_ways.items() if rough is not None}
    best = min(found, key=found.__getitem__, default=None)
    if (
        best is not None
        and found[best] < _SMOOTH
        and (own is None or (found[best] < said * _SMOOTHER and _broader(pcm, _decode(best, piece))))
    ):
        if best in _LAWS:
            return Kind(best.lower()), True
        return Kind.PCM16 if own is None or own in _LAWS else Kind.BYTE_ORDER, True
    if _NOISE[0] < said < _NOISE[1] and flatness(pcm) > _FLAT:
        return Kind.NOISE, True
    # Faint 16-bit samples in the other byte order are loud and smooth.
    return None, said < _SMOOTH and len(found) == len(all_ways)


def flatness(pcm: bytes) -> float:
    """Geometric by arithmetic mean of the powers of all frequencies: 0 for a tone, 0.56 for white noise."""
    power = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2").astype(np.float64)))[1:] ** 2 + 1e-9
    return float(np.exp(np.mean(np.log(power))) / np.mean(power))


def _broader(pcm: bytes, other: bytes) -> bool:
    """Not nearly a tone, and less like one than `other`."""
    return flatness(pcm) > max(_TONAL, flatness(other))


def _decode(way: str, piece: bytes) -> bytes:
    return CODECS[way].decoder()(piece[: len(piece) // 2 * 2])


def _way(codec: str) -> str | None:
    """Which of the ways is that of the codec; None for G722."""
    name, _, rest = codec.partition("/")
    if name == "L16":
        return "L16/8000/big" if rest.endswith("/big") else "L16/8000"
    return codec if codec in _WAYS else None


def _spoken(codec: str) -> tuple[str, int]:
    return codec.partition("/")[0], CODECS[codec].sample_rate


class ContentCheck:
    """Looks at pieces of one stream's audio, as the app sent it, and says what it is when enough of them agree."""

    __slots__ = ("_clear", "_codec", "_seen", "_soon", "_votes", "found", "suspicious")

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._seen = self._clear = 0
        self._soon = SOON
        self._votes: dict[Kind, int] | None = None
        self.found: Content | None = None
        """The last that was found out."""
        self.suspicious = False
        """The last piece was: look at the next one soon."""

    def begin(self, head: bytes) -> None:
        """The first bytes of a message."""
        found = container(head)
        if found is not None:
            self.found = found

    def see(self, piece: bytes, pcm: bytes) -> None:
        """A piece, whole samples from a sample's beginning, and the same decoded as the stream's codec."""
        if len(piece) < LEAST_PIECE:
            return
        if self.found is None:
            self.begin(piece)
        piece, said = piece[:PIECE], roughness(pcm)
        if self._codec in _LAWS and not piece.strip(b"\0"):
            found: tuple[Kind | None, bool] = (Kind.PCM16, True)  # its silence; here it is the lowest value for long
        elif said is None:
            return
        else:
            found = _suspect(piece, self._codec, pcm, said, thorough=self._seen < SURE)
        kind, clear = found
        self._seen += 1
        self._clear += clear
        if kind is not None:
            self._vote(kind)
        self.suspicious = self.found is None and self._soon > 0 and (kind is not None or not clear or self._seen < SURE)
        self._soon -= self.suspicious
        if self._seen >= KEPT:
            self._seen //= 2
            self._clear //= 2
            self._votes = {kind: votes // 2 for kind, votes in (self._votes or {}).items()} or None

    def _vote(self, kind: Kind) -> None:
        if self._votes is None:
            self._votes = {}
        votes = self._votes[kind] = self._votes.get(kind, 0) + 1
        least = max(NOISE_VOTES, self._seen * 0.9) if kind is Kind.NOISE else max(VOTES, self._clear * 0.5)
        if votes >= least and (self.found is None or self.found.kind in _BARE):
            self.found = Content(kind, _BARE[kind])


_BARE = {
    Kind.PCM16: "16-bit PCM",
    Kind.BYTE_ORDER: "L16 in the other byte order",
    Kind.PCMU: "PCMU",
    Kind.PCMA: "PCMA",
    Kind.NOISE: "like noise",
}
"""What has no header, in words."""


def recognise(audio: bytes, codec: str) -> Content | None:
    """What a whole recording of an app's payloads, in sequence, is instead of `codec`; None when nothing is wrong with
    it, or when it is too short or too quiet to say."""
    row = CODECS[codec]
    if row.queued_as is not None:
        return container(audio)
    check = ContentCheck(codec)
    check.begin(audio)
    size = max(LEAST_PIECE, row.bytes_per_ms * 100)
    decode = row.decoder()
    for at in range(0, len(audio) - LEAST_PIECE + 1, size):
        piece = audio[at : at + size]
        check.see(piece, decode(piece))
    return check.found
