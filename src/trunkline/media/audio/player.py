"""Playback of a file to a leg: its audio, decoded elsewhere, is cut to the packets that the leg sends. Pure.

The audio comes in pieces, in the codec that the leg had when playback began, and is transcoded only after a re-INVITE
to another codec. Each piece that was played is reported, and the owner puts the next one, so a file of any length
takes the memory of a few pieces. While a piece is late the leg sends silence; the end is padded to a packet.
"""

from collections.abc import Callable

from trunkline.media.codecs import CODECS, transcoder
from trunkline.media.frames import BaseTap


class Player(BaseTap):
    """Plays one file. A delay of the clock loses nothing of it: the file waits."""

    plays = True

    def __init__(self, on_piece_played: Callable[[], None], on_over: Callable[[str | None], object]) -> None:
        """Both are called on the packet path. `on_over` is called once, with the reason if playback failed."""
        self._on_piece_played = on_piece_played
        self._on_over: Callable[[str | None], object] | None = on_over
        self._audio = b""
        self._at = 0
        self._piece_ends: list[int] = []
        self._error: str | None = None
        self._complete = False
        self.codec = ""
        """Codec of the audio that `put` takes; empty until the tap is attached."""

    def put(self, audio: bytes) -> None:
        """Append the next piece."""
        self._audio = self._audio[self._at :] + audio
        self._piece_ends = [end - self._at for end in self._piece_ends]
        self._piece_ends.append(len(self._audio))
        self._at = 0

    def end(self, error: str | None) -> None:
        """No more pieces come; what is queued is played."""
        self._error, self._complete = error, True
        if not self._audio[self._at :]:
            self._over()

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        start = self._at
        end = start + self._packet
        frame = self._audio[start:end]
        if len(frame) < self._packet:
            if not (self._complete and frame):
                return None
            frame += self._row.silence(self._ptime)[len(frame) :]
        self._at = end
        while self._piece_ends and self._piece_ends[0] <= end:
            del self._piece_ends[0]
            self._on_piece_played()
        if self._complete and end >= len(self._audio):
            self._over()
        return self._convert(frame)

    def _over(self) -> None:
        if self._on_over is not None:
            on_over, self._on_over = self._on_over, None
            on_over(self._error)

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        if not self.codec:
            self.codec = CODECS[codec].queued_as or codec
            self._row = CODECS[self.codec]
        self._ptime = ptime
        self._packet = ptime * self._row.bytes_per_ms
        self._convert = transcoder(self.codec, codec).convert
