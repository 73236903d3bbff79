"""Several players on one leg: their frames made into one, as when a file plays while an app speaks.

Who speaks alone is passed through byte for byte; only frames that fall together are decoded, added up and encoded.
They are added as they are, since halving them would make a voice fainter whenever another one begins, and what exceeds
16 bits is clipped.

Most codecs have a memory, and a decoder that is handed from one encoder to another answers with a bang. So before
mixing begins, the decoders and the encoder are run over what was played just before, which nobody hears a second time;
and once begun, mixing goes on until nobody speaks. G.711 has no memory and needs neither.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from trunkline.media.codecs import CODECS, UndecodablePacket

Player = Callable[[int], bytes | None]
"""`LegTap.next_frame`."""

WARM_UP = 5
"""Frames that codecs with a memory are run over. For G.722 and 20 ms, by trial: one is too few, three are enough."""


class Mixer:
    """One leg's players, two or more, in the leg's codec; itself a player. Made anew when any of this changes."""

    __slots__ = ("_before", "_decoders", "_encode", "_mixing", "_players", "calling")

    def __init__(self, codec: str, players: Sequence[Player]) -> None:
        row = CODECS[codec]
        self._players = players
        self._decoders = [row.decoder() for _ in players]
        self._encode = row.encoder()
        self._before: deque[list[bytes | None]] = deque(maxlen=WARM_UP if row.remembers else 0)
        self._mixing = False
        self.calling: Player | None = None
        """The player under way, to tell whose fault an exception was."""

    def next_frame(self, at: int) -> bytes | None:
        """The next packet time of everybody's audio; None when nobody has any."""
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
        """The sum of what is there, if anything is."""
        voices = []
        for decode, frame in zip(self._decoders, frames, strict=True):
            if frame is not None:
                with suppress(UndecodablePacket):  # another leg's peer made it
                    voices.append(np.frombuffer(decode(frame), "<i2"))
        if not voices:
            return b""
        return self._encode(np.sum(voices, axis=0, dtype=np.int32).clip(-32768, 32767).astype("<i2").tobytes())
