"""The border between a leg and whatever listens to it or speaks into it.

A leg calls these on the packet path: an implementation must not raise, block, await or log, and must not keep the
leg waiting. The direction is always downwards; nobody calls a leg back from in here.
"""

from typing import Protocol


class LegTap(Protocol):
    """One listener and speaker on a leg: in practice one WebSocket stream.

    Times (`at`) are milliseconds on the leg's timeline, which both tracks share: 0 is the moment the leg opened;
    inbound times come from the RTP clock, as far as arrivals bear it out, and never go back; outbound ones from the
    playout clock.
    """

    @property
    def inbound(self) -> bool:
        """Wants `inbound_frame`."""

    @property
    def outbound(self) -> bool:
        """Wants `outbound_frame`."""

    @property
    def plays(self) -> bool:
        """Is asked for `next_frame`. What several ports of a leg play is mixed."""

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """One RTP packet's payload from the peer, in RTP order and in the codec that was told last; `missing` packets
        before it were lost for good."""

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """One packet's payload as it leaves for the peer, in the leg's codec, silence included."""

    def digit(self, digit: str) -> None:
        """One key press (`0`-`9`, `*`, `#`, `A`-`D`), once, at its end."""

    def next_frame(self, at: int) -> bytes | None:
        """The next `ptime` of audio in the leg's codec, exactly one packet long; None when there is nothing to play.
        What is returned counts as played."""

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """The clock that asks for `next_frame` was, from the leg's time `at` on: for `skipped` ms it will not ask at
        all, and for the `late` ms after them at once. Off the packet path."""

    def leg_changed(self, codec: str, ptime: int) -> None:
        """The leg's codec (a name of `media.codecs.CODECS`), both ways, or the length of the packets it sends, in ms.
        Called on attaching and after each re-INVITE that changes either."""

    def peer_changed(self, codec: str) -> None:
        """The peer sends in this one from here on, of those that were agreed, whatever the leg's codec is."""
