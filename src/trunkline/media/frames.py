"""The interface between a leg and its taps: what receives the leg's audio or plays to it.

A leg calls these methods on the packet path: an implementation must not raise, block, await or log, and must return at
once. Calls go down only: a tap never calls its leg from within them.
"""

from typing import Protocol


class LegTap(Protocol):
    """One listener and player on a leg: a WebSocket stream, a file, a recording, one end of a bridge.

    Times (`at`) are ms on the leg's timeline, which both tracks share: 0 is the moment the leg opened. Inbound times
    come from the RTP clock, as far as arrivals confirm it, and never go back; outbound times from the playout clock.
    """

    @property
    def inbound(self) -> bool:
        """`inbound_frame` is called."""

    @property
    def outbound(self) -> bool:
        """`outbound_frame` is called."""

    @property
    def plays(self) -> bool:
        """`next_frame` is called. What several taps of a leg play is mixed."""

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """One RTP packet's payload from the peer, in RTP order, in the codec of the last `leg_changed` or
        `peer_changed`. `missing`: packets before it that were lost."""

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """One packet's payload as it is sent to the peer, in the leg's codec, silence included."""

    def digit(self, digit: str) -> None:
        """One key press of the peer (`0`-`9`, `*`, `#`, `A`-`D`), once, at its end."""

    def next_frame(self, at: int) -> bytes | None:
        """The next `ptime` of audio in the leg's codec, exactly one packet long; None when there is nothing to play.
        What is returned counts as played."""

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """The clock of `next_frame` was delayed, from the leg's time `at` on: `next_frame` is not called for `skipped`
        ms, and for the `late` ms after them it is called at once. Off the packet path."""

    def leg_changed(self, codec: str, ptime: int) -> None:
        """The leg's codec (a name of `media.codecs.CODECS`) in both directions, and the packet time that it sends, in
        ms. Called on attaching and after each re-INVITE that changes either."""

    def peer_changed(self, codec: str) -> None:
        """The peer sends in this codec from here on, one of those agreed, whatever the leg's codec is."""


class BaseTap:
    """A tap that does nothing: taps that are not compiled inherit what they do not need."""

    inbound: bool = False
    outbound: bool = False
    plays: bool = False

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""

    def digit(self, digit: str) -> None:
        """See `LegTap`."""

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        return None

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
