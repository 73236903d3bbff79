"""Audio on its way from one leg to another: what waits between a peer's clock and ours.

Packets come by the peer's clock and by the moods of the network, and leave by ours, so something must wait between.
How much is learned: playback begins with the first packet; when it runs dry, the moment is concealed, which makes
everything behind it later by as much; and audio that has waited all through the last `TRIM_EVERY` packets without need
is shortened by one packet, faded into the next, or by several, one every `TRIM_AGAIN` packets, where much has waited: a
callee's first words, say, which are here before the bridge is. A clock that is off is followed the same way, so neither
a fast peer nor a burst leaves a delay that grows. What was lost for good is concealed in its place, less what was
played in its stead already.

What waits is in the listening leg's codec, so where both legs speak the same, payloads pass byte for byte, joined and
cut to the listener's packets. A codec that cannot be cut passes as whole packets if they are as long as the listener's;
other audio waits for it as PCM. Where something must be computed, the `Concealment` decodes it. Whole packets begin
where the listener's do, so that none is ever cut."""

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
"""Waiting audio that is left alone when the rest is trimmed."""

MUCH_MS = 200
"""Waiting audio beyond which more than one packet is trimmed in `TRIM_EVERY`."""

LIMIT_MS = 1600
"""Audio that may wait at most, as after a stall; more is dropped, the oldest first. It takes a callee's first words, as
many as are kept before its answer and while its source is on trial (`source.py`)."""


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
        self._said: deque[bytes] = deque(maxlen=WARM_UP)  # by the speaker, lately
        self._packet: int
        self._concealment: Concealment
        self._begin("PCMU", 20)
        self._connect()

    def set_source(self, codec: str) -> None:
        """The speaking leg's codec from here on. What waits is played."""
        if codec != self._source:
            self._source = codec
            self._said.clear()
            self._connect()

    def set_sink(self, codec: str, ptime: int) -> None:
        """The listening leg's codec and packet time in ms from here on. What waits is played in that codec."""
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
        self._stood_in = 0  # played in place of audio that had not come, since some came
        self._least = self._turns = self._spare = 0
        self._concealment = Concealment(sink)

    def _connect(self) -> None:
        """Transcode, or pass, from here on, as if it had been so for some packets before."""
        # Of a whole packet, where such may pass.
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
        """Audio that waits."""
        return self._waiting // self._per_ms

    def put(self, payload: bytes, missing: int) -> None:
        """A payload of the speaking leg's, `missing` ones before it being lost."""
        try:
            piece = self._received(payload)
        except UndecodablePacket:
            return  # as if it had not come: playback runs dry
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
        """One packet for the listening leg; None when there is nothing to say."""
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
        """For this long the listening leg took nothing, being on hold or pressing keys. What waited that long is
        dropped: nobody is to be later by a hold."""
        for _ in range(min(milliseconds * self._per_ms, self._waiting) // self._packet):
            self._drop()
        self._playing = False

    def _received(self, payload: bytes) -> ConcealedFrame:
        """Of a payload of the speaking leg's. Raises UndecodablePacket."""
        if self._samples is not None and self._samples(payload) == self._packet:
            return ConcealedFrame(self._packet, payload)
        return self._piece(self._convert(payload))

    def _piece(self, audio: bytes) -> ConcealedFrame:
        """Of audio in the listening leg's codec, or of PCM where that cannot be cut."""
        if self._row.queued_as:
            return ConcealedFrame(len(audio) // 2, pcm=audio)
        return ConcealedFrame(len(audio) * self._per_ms // self._row.bytes_per_ms, audio)

    def _wait(self, piece: ConcealedFrame) -> None:
        self._queue.append(piece)
        self._waiting += piece.samples

    def _conceal(self, samples: int) -> None:
        """Have so much made up, when it is due, behind what waits."""
        if samples > 0:
            self.concealed_ms += samples // self._per_ms
            self._wait(ConcealedFrame(samples))

    def _drop(self) -> None:
        self.dropped_ms += self._packet // self._per_ms
        self._cut()

    def _is_too_late(self) -> bool:
        """Count, and tell once in a while whether a packet's time of audio has waited in vain, and is to be trimmed."""
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
        """The next packet's time of what waits, which is as much at least."""
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
        """Two packets' time of audio in one."""
        first, second = (np.frombuffer(self._concealment.pcm(self._cut()), "<i2") for _ in range(2))
        self.trimmed_ms += self._packet // self._per_ms
        rise = np.linspace(0, 1, len(first))
        return self._concealment.encode(np.rint(first * (1 - rise) + second * rise).astype("<i2").tobytes())
