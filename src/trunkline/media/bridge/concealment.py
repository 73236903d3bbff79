"""A voice that is passed through, and mended where audio did not come: decoded and encoded only there.

While nothing is missing, payloads pass byte for byte. What is to be made up, or shortened, or faded in behind something
that was made up, must be decoded, and most codecs have a memory. So the decoder, the encoder and the concealer are made
when they are needed and run over what was played just before, which nobody hears a second time, as the mixer does. When
it is mended the speaker's payloads pass again at once. The listener's decoder then goes from our encoder to the
speaker's, which is the smaller jump the sooner it is: an encoder adds a delay of its own, and a decoder forgets within
a packet or two. So says trying, with G.722 and Opus.

Not so behind a seam, where the listener's decoder or the speaker's encoder begins at rest, while the other may be in
mid-speech: there it is decoded and encoded for as long as warming up takes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trunkline.media.audio.mixer import WARM_UP
from trunkline.media.audio.plc import Concealer
from trunkline.media.codecs import CODECS, UndecodablePacket


class ConcealedFrame(NamedTuple):
    """Some audio on its way; without any it did not come, and is made up."""

    samples: int
    """At the codec's sample rate."""
    coded: bytes = b""
    """In the codec."""
    pcm: bytes = b""
    """Instead, where the codec cannot be cut and this was not a whole packet."""
    decode: Callable[[bytes], bytes] | None = None
    """Of a seam, which has no length: the decoder for what follows, as it was when that was encoded."""


class _CodecState:
    """What mending takes."""

    __slots__ = ("concealer", "decode", "encode")

    def __init__(self, codec: str, played: Iterable[bytes]) -> None:
        row = CODECS[codec]
        self.decode, self.encode = row.decoder(), row.encoder()
        self.concealer = Concealer(row.sample_rate)
        for payload in played:
            pcm = self.decoded(payload)
            self.concealer.heard(pcm)
            self.encode(pcm)

    def decoded(self, payload: bytes) -> bytes:
        """PCM; nothing of what is none of the codec's."""
        try:
            return self.decode(payload)
        except UndecodablePacket:
            return b""


class Concealment:
    """One listener's codec, in which the voice comes and goes."""

    __slots__ = ("_codec", "_handing_over", "_played", "_state")

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._played: deque[bytes] = deque(maxlen=WARM_UP)
        self._state: _CodecState | None = None
        self._handing_over = 0  # packets that are computed yet

    def payload(self, pieces: Sequence[ConcealedFrame]) -> bytes:
        """A packet of these: as they are, if that can be."""
        workshop = self._state
        coded = [piece.coded for piece in pieces]
        if (workshop and (workshop.concealer.standing_in or self._handing_over)) or not all(coded):
            self._handing_over = max(0, self._handing_over - 1)
            return self.encode(self.pcm(pieces))
        self._state = None
        payload = b"".join(coded)
        self._played.append(payload)
        return payload

    def pcm(self, pieces: Iterable[ConcealedFrame]) -> bytes:
        """These, which are next, decoded and mended: 16-bit samples at the codec's sample rate."""
        workshop = self._state = self._state or _CodecState(self._codec, self._played)
        out = []
        for piece in pieces:
            pcm = (piece.coded and workshop.decoded(piece.coded)) or piece.pcm
            if piece.decode:
                workshop.decode = piece.decode
                self._handing_over = WARM_UP
            if pcm:
                out.append(workshop.concealer.heard(pcm))
            else:
                out.append(workshop.concealer.conceal(piece.samples))
        return b"".join(out)

    def encode(self, pcm: bytes) -> bytes:
        """A packet of what `pcm` gave."""
        workshop = self._state = self._state or _CodecState(self._codec, self._played)
        payload = workshop.encode(pcm)
        self._played.append(payload)
        return payload
