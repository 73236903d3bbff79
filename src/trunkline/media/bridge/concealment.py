"""Pass-through with packet loss concealment; decodes only around gaps.

While nothing is missing, payloads pass byte for byte. Audio that is concealed, shortened, or faded in after concealment
must be decoded, and most codecs have state. So decoder, encoder and concealer are created when they are needed, and
process the last `WARM_UP` payloads, whose output is dropped, as the mixer does. After the gap the speaker's payloads
pass again at once. The listener's decoder then switches from our encoder to the speaker's; an early switch makes a
smaller jump, as an encoder adds a delay of its own and a decoder settles within one or two packets (measured with G.722
and Opus).

Behind a seam (a new codec or speaker) the listener's decoder or the speaker's encoder starts without state while the
other may be in mid-speech: there audio is decoded and encoded for `WARM_UP` packets.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trunkline.media.audio.mixer import WARM_UP
from trunkline.media.audio.plc import Concealer
from trunkline.media.codecs import CODECS, UndecodablePacket


class ConcealedFrame(NamedTuple):
    """A piece of audio in the buffer; one without `coded` and `pcm` is lost audio to be concealed."""

    samples: int
    """At the codec's sample rate."""
    coded: bytes = b""
    """In the codec."""
    pcm: bytes = b""
    """16-bit samples instead, where the codec cannot be cut and this was not a whole packet."""
    decode: Callable[[bytes], bytes] | None = None
    """Of a seam, which has no length: the decoder for what follows, with the state of its encoder."""


class _CodecState:
    """Decoder, encoder and concealer, after the payloads that were `played`."""

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
        """PCM; empty for an undecodable payload."""
        try:
            return self.decode(payload)
        except UndecodablePacket:
            return b""


class Concealment:
    """Concealment in one listener's codec."""

    __slots__ = ("_codec", "_handing_over", "_played", "_state")

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._played: deque[bytes] = deque(maxlen=WARM_UP)
        self._state: _CodecState | None = None
        self._handing_over = 0  # packets still to be decoded and encoded

    def payload(self, pieces: Sequence[ConcealedFrame]) -> bytes:
        """A packet of these pieces, unchanged if possible."""
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
        """The next pieces, decoded and concealed: 16-bit samples at the codec's sample rate."""
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
        """A packet of samples that `pcm` returned."""
        workshop = self._state = self._state or _CodecState(self._codec, self._played)
        payload = workshop.encode(pcm)
        self._played.append(payload)
        return payload
