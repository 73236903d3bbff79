"""Several players on one leg, mixed: a file plays while an app speaks.

Frames of a single player pass byte for byte; only simultaneous frames are decoded, added and encoded. They are added
without scaling, since halving would make a voice fainter whenever another one begins, and clipped to 16 bits.

Most codecs have state, and a decoder that gets the output of another encoder produces a click. So before mixing begins,
the decoders and the encoder process the last `WARM_UP` frames, whose output is dropped; and mixing goes on until no
player has audio. G.711 has no state and needs neither.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from trunkline.media.codecs import CODECS, UndecodablePacket

Player = Callable[[int], bytes | None]
"""`LegTap.next_frame`."""

WARM_UP = 5
"""Frames for codecs with state to settle. Measured with G.722 and 20 ms: one is too few, three are enough."""


class Mixer:
    """Two or more players of one leg, in the leg's codec; itself a player. A change of either needs a new one."""

    __slots__ = ("_before", "_decoders", "_encode", "_mixing", "_players", "calling")

    def __init__(self, codec: str, players: Sequence[Player]) -> None:
        row = CODECS[codec]
        self._players = players
        self._decoders = [row.decoder() for _ in players]
        self._encode = row.encoder()
        self._before: deque[list[bytes | None]] = deque(maxlen=WARM_UP if row.remembers else 0)
        self._mixing = False
        self.calling: Player | None = None
        """The player in progress, for the owner that catches its exception."""

    def next_frame(self, at: int) -> bytes | None:
        """The next packet of all players; None when none has audio."""
        frames: list[bytes | None] = []
        for player in self._players:
            self.calling = player
            frames.append(player(at))
        self.calling = None
        speaking = [frame for frame in frames if frame is not None]
        before = self._before
        mixing = len(speaking) > 1 or (self._mixing and len(speaking) == 1 and before.maxlen != 0)
        if mixing and not self._mixing:
            for passed_through in before:
                self._mix(passed_through)
        self._mixing = mixing
        before.append(frames)
        if mixing:
            return self._mix(frames) or None
        return speaking[0] if speaking else None

    def _mix(self, frames: list[bytes | None]) -> bytes:
        """The sum of the frames; empty if there are none."""
        voices = []
        for decode, frame in zip(self._decoders, frames, strict=True):
            if frame is not None:
                with suppress(UndecodablePacket):  # another leg's peer made it
                    voices.append(np.frombuffer(decode(frame), "<i2"))
        if not voices:
            return b""
        return self._encode(np.sum(voices, axis=0, dtype=np.int32).clip(-32768, 32767).astype("<i2").tobytes())
