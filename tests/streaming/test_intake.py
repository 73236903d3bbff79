"""What is counted between the loop and the WebSocket library."""

from trunkline.streaming.intake import Intake

UNCHARGED = 65_536


class Library:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self.calls.append(nbytes)

    def eof_received(self) -> bool:
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Owner:
    """Counts."""

    large = 0

    def frame_is_large(self) -> None:
        """See `IntakeOwner`."""
        self.large += 1


def test_the_owner_is_called_once_a_frame_is_larger_than_allowed() -> None:
    owner, library = Owner(), Library()
    intake = Intake(owner)
    intake.serve(library)
    intake.buffer_updated(UNCHARGED)
    assert owner.large == 0
    intake.buffer_updated(1)
    assert (owner.large, library.calls) == (1, [UNCHARGED, 1])
    intake.unfinished = 0
    intake.buffer_updated(UNCHARGED)
    assert owner.large == 1, "a new frame"


def test_all_other_calls_reach_the_library() -> None:
    intake, library, lost = Intake(Owner()), Library(), OSError()
    intake.serve(library)
    assert len(intake.get_buffer(7)) == 7
    assert intake.eof_received() is True
    intake.pause_writing()
    intake.resume_writing()
    intake.connection_lost(lost)
    assert library.calls == ["pause", "resume", lost]


def test_after_its_release_it_refers_to_nothing() -> None:
    intake = Intake(Owner())
    intake.serve(Library())
    intake.release()
    assert intake.get_buffer is None
