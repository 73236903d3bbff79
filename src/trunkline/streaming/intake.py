"""What a socket receives on its way to the WebSocket library, counted. Pure.

The library keeps an incomplete frame in a buffer of its own, which grows and never shrinks, and does not report it. So
the loop calls `Intake` instead of the library: with one addition per read it knows how much of a frame is there.
"""

from typing import Any, Protocol

UNCHARGED = 65536
"""Bytes of an incomplete frame that every socket may hold: as many as one read returns."""


class IntakeOwner(Protocol):
    """Whose connection it is."""

    def frame_is_large(self) -> None:
        """More than `allowed` bytes of one frame are there, less at most one read: raise `allowed`, or close."""


class Intake:
    """The protocol of one connection, in front of the library's."""

    __slots__ = ("_library", "_library_updated", "_owner", "allowed", "get_buffer", "unfinished")

    def __init__(self, owner: IntakeOwner) -> None:
        self._owner: IntakeOwner | None = owner
        self.allowed = UNCHARGED
        self.unfinished = 0
        """Bytes since the last complete frame; the owner sets it to 0 at each."""
        self._library: Any = None
        self._library_updated: Any = None
        self.get_buffer: Any = None

    def serve(self, library: Any) -> None:
        """Stand in front of `library` from now on."""
        self._library = library
        # The loop keeps this one, and so calls the library itself.
        self.get_buffer = library.get_buffer
        self._library_updated = library.buffer_updated

    def release(self) -> None:
        """Drop all references; what the loop still has to report does not matter any more."""
        self._owner = self._library = self._library_updated = self.get_buffer = None

    def buffer_updated(self, nbytes: int) -> None:
        """The loop has put so many bytes into the buffer."""
        self.unfinished += nbytes
        self._library_updated(nbytes)
        if self.unfinished > self.allowed and self._owner is not None:
            self._owner.frame_is_large()

    def eof_received(self) -> Any:
        """The loop's call, as the rest."""
        return None if self._library is None else self._library.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        if self._library is not None:
            self._library.connection_lost(exc)

    def pause_writing(self) -> None:
        """The kernel's buffer is full."""
        if self._library is not None:
            self._library.pause_writing()

    def resume_writing(self) -> None:
        """It takes data again."""
        if self._library is not None:
            self._library.resume_writing()
