"""The playout buffer of one direction of a bridge, between the peer's clock and ours.

Packets arrive on the peer's clock, with network jitter, and leave on ours. The delay adapts: playback begins with the
first packet; an underrun is concealed, which delays all later audio by as much; and audio that was not needed during
the last `TRIM_EVERY` packets is shortened by one packet, cross-faded into the next, or by one every `TRIM_AGAIN`
packets if much waits, such as a callee's first words from before the bridge. Clock drift is followed the same way, so
neither a fast peer nor a burst leaves a growing delay. Lost packets are concealed in their place, less what was
concealed for them already.

Audio waits in the listening leg's codec. Where both legs have the same codec, payloads pass byte for byte, joined and
cut to the listener's packets. A codec that cannot be cut passes as whole packets if they are as long as the listener's,
and begin where the listener's do; other audio waits for it as PCM. `Concealment` decodes where samples are needed.
"""

from collections import deque
from contextlib import suppress

import numpy as np

from trunkline.media.audio.mixer import WARM_UP
from trunkline.media.audio.plc import LONGEST_MS
from trunkline.media.bridge.concealment import ConcealedFrame, Concealment
from trunkline.media.codecs import CODECS, UndecodablePacket, transcoder

TRIM_EVERY = 100
"""Packets: two seconds."""

TRIM_AGAIN = 20
"""Packets: time is compressed by 5 % at most."""

SPARE_MS = 10
"""Waiting audio that is not trimmed."""

MUCH_MS = 200
"""Waiting audio beyond which more than one packet is trimmed in `TRIM_EVERY`."""

LIMIT_MS = 1600
"""Most audio that may wait, as after a stall; more is dropped, the oldest first. As much as is kept of a callee's first
words before its answer and while its source is on trial (`source.py`)."""


class BridgeBuffer:
    """One direction of a bridge. Lengths are samples at the rate of the listening leg's codec."""

    __slots__ = (
        "_concealment",
        "_convert",
        "_least",
        "_packet",
        "_per_ms",
        "_playing",
        "_queue",
        "_row",
        "_said",
        "_samples",
        "_sink",
        "_source",
        "_spare",
        "_stood_in",
        "_turns",
        "_waiting",
        "concealed_ms",
        "dropped_ms",
        "trimmed_ms",
    )

    def __init__(self) -> None:
        self._source = "PCMU"
        self._queue: deque[ConcealedFrame] = deque()
        self._waiting = 0
        self._playing = False
        self.concealed_ms = self.dropped_ms = self.trimmed_ms = 0
        self._said: deque[bytes] = deque(maxlen=WARM_UP)  # the speaker's last payloads
        self._packet: int
        self._concealment: Concealment
        self._begin("PCMU", 20)
        self._connect()

    def set_source(self, codec: str) -> None:
        """The speaking leg's codec from here on. Waiting audio is played."""
        if codec != self._source:
            self._source = codec
            self._said.clear()
            self._connect()

    def set_sink(self, codec: str, ptime: int) -> None:
        """The listening leg's codec and packet time in ms from here on. Waiting audio is played in that codec."""
        row, packet = self._row, ptime * self._per_ms
        if codec == self._sink and (row.bytes_per_ms or packet == self._packet):
            self._packet = packet
            return
        pcm = self._concealment.pcm(self._queue) if self._waiting else b""
        self._queue.clear()
        self._waiting = 0
        self._begin(codec, ptime)
        if pcm:
            convert = transcoder(f"L16/{row.sample_rate}", self._row.queued_as or codec).convert
            self._wait(self._piece(convert(pcm)))
        self._connect()

    def _begin(self, sink: str, ptime: int) -> None:
        self._sink, self._row = sink, CODECS[sink]
        self._per_ms = self._row.sample_rate // 1000
        self._packet = ptime * self._per_ms
        self._stood_in = 0  # concealed since audio came last
        self._least = self._turns = self._spare = 0
        self._concealment = Concealment(sink)

    def _connect(self) -> None:
        """Transcode, or pass, from here on, with the codec state of some packets before."""
        # Where whole packets pass: samples of a packet.
        self._samples = self._row.samples if self._source == self._sink else None
        self._convert = transcoder(self._source, self._row.queued_as or self._sink).convert
        decode = self._row.decoder()
        for payload in self._said:
            with suppress(UndecodablePacket):
                decode(self._received(payload).coded)
        if self._playing:
            self._queue.append(ConcealedFrame(0, decode=decode))

    @property
    def queued_ms(self) -> int:
        """Audio that waits, in ms."""
        return self._waiting // self._per_ms

    def put(self, payload: bytes, missing: int) -> None:
        """A payload of the speaking leg; `missing` payloads before it were lost."""
        try:
            piece = self._received(payload)
        except UndecodablePacket:
            return  # treated as lost: playback underruns
        self._said.append(payload)
        if missing and self._playing:
            self._conceal(min(missing * piece.samples - self._stood_in, LONGEST_MS * self._per_ms))
        self._stood_in = 0
        if piece.coded and not self._row.bytes_per_ms:
            self._conceal(-self._waiting % self._packet)
        self._wait(piece)
        while self._waiting > LIMIT_MS * self._per_ms:
            self._drop()

    def take(self) -> bytes | None:
        """One packet for the listening leg; None when there is no audio."""
        missing = self._packet - self._waiting
        if missing <= 0:
            self._playing = True
            if self._is_too_late():
                return self._trimmed()
        elif self._playing and self._stood_in < LONGEST_MS * self._per_ms:
            self._stood_in += missing
            self._least = self._spare = 0
            self._conceal(missing)
        else:
            self._playing = False
            return None
        return self._concealment.payload(self._cut())

    def skip(self, milliseconds: int) -> None:
        """The listening leg took nothing for this long: it was on hold or sent key presses. As much audio is dropped: a
        hold must not add latency."""
        for _ in range(min(milliseconds * self._per_ms, self._waiting) // self._packet):
            self._drop()
        self._playing = False

    def _received(self, payload: bytes) -> ConcealedFrame:
        """The piece for a payload of the speaking leg. Raises UndecodablePacket."""
        if self._samples is not None and self._samples(payload) == self._packet:
            return ConcealedFrame(self._packet, payload)
        return self._piece(self._convert(payload))

    def _piece(self, audio: bytes) -> ConcealedFrame:
        """The piece for audio in the listening leg's codec, or for PCM where that cannot be cut."""
        if self._row.queued_as:
            return ConcealedFrame(len(audio) // 2, pcm=audio)
        return ConcealedFrame(len(audio) * self._per_ms // self._row.bytes_per_ms, audio)

    def _wait(self, piece: ConcealedFrame) -> None:
        self._queue.append(piece)
        self._waiting += piece.samples

    def _conceal(self, samples: int) -> None:
        """Append so many samples to be concealed."""
        if samples > 0:
            self.concealed_ms += samples // self._per_ms
            self._wait(ConcealedFrame(samples))

    def _drop(self) -> None:
        self.dropped_ms += self._packet // self._per_ms
        self._cut()

    def _is_too_late(self) -> bool:
        """Track the least audio that waited; whether a packet of it is to be trimmed now."""
        self._least = min(self._least, self._waiting - self._packet)
        self._turns += 1
        if self._turns >= TRIM_EVERY:
            least, self._turns, self._least = self._least, 0, self._waiting
            much = (least - MUCH_MS * self._per_ms) // self._packet
            self._spare = max(much, least >= self._packet + SPARE_MS * self._per_ms)
        if self._spare <= 0 or self._turns % TRIM_AGAIN:
            return False
        self._spare -= 1
        return True

    def _cut(self) -> list[ConcealedFrame]:
        """Remove the next packet of audio; at least as much must wait."""
        queue, missing = self._queue, self._packet
        self._waiting -= missing
        pieces = []
        while missing:
            piece = queue.popleft()
            if piece.samples > missing:
                piece, rest = self._halves(piece, missing)
                queue.appendleft(rest)
            pieces.append(piece)
            missing -= piece.samples
        return pieces

    def _halves(self, piece: ConcealedFrame, samples: int) -> tuple[ConcealedFrame, ConcealedFrame]:
        at = samples * self._row.bytes_per_ms // self._per_ms
        first = ConcealedFrame(samples, piece.coded[:at], piece.pcm[: 2 * samples])
        return first, ConcealedFrame(piece.samples - samples, piece.coded[at:], piece.pcm[2 * samples :])

    def _trimmed(self) -> bytes:
        """Two packets of audio cross-faded into one."""
        first, second = (np.frombuffer(self._concealment.pcm(self._cut()), "<i2") for _ in range(2))
        self.trimmed_ms += self._packet // self._per_ms
        rise = np.linspace(0, 1, len(first))
        return self._concealment.encode(np.rint(first * (1 - rise) + second * rise).astype("<i2").tobytes())
