"""A file played to a leg: every byte is played once, whatever the pieces, and each piece is requested in time."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.audio.player import Player
from trunkline.media.codecs import CODECS


class Log:
    """A player, and what it reports."""

    def __init__(self, codec: str = "PCMU", ptime: int = 20) -> None:
        self.pieces = 0
        self.over: list[str | None] = []
        self.player = Player(self._piece, self.over.append)
        self.player.leg_changed(codec, ptime)

    def _piece(self) -> None:
        self.pieces += 1


@given(
    st.lists(st.binary(max_size=1000), min_size=1, max_size=8),
    st.sampled_from([10, 20, 30, 60]),
    st.lists(st.booleans(), max_size=60),
)
def test_any_pieces_play_byte_for_byte_and_each_counts_once(pieces: list[bytes], ptime: int, asked: list[bool]) -> None:
    log = Log(ptime=ptime)
    waiting, heard, size = list(pieces), [], ptime * 8
    for ask in asked:  # the leg's clock and the decoder, in any order
        if ask:
            heard.append(log.player.next_frame(0))
        elif waiting:
            log.player.put(waiting.pop(0))
    for piece in waiting:
        log.player.put(piece)
    log.player.end(None)
    while not log.over:
        heard.append(log.player.next_frame(0))
    frames = [frame for frame in heard if frame is not None]
    whole = b"".join(pieces)
    assert {len(frame) for frame in frames} <= {size}
    assert b"".join(frames) == whole + b"\xff" * (-len(whole) % size)
    assert log.over == [None]
    assert log.pieces <= len(pieces)
    assert log.player.next_frame(0) is None


def test_a_codec_change_while_playing_continues_at_the_same_position() -> None:
    log = Log()
    log.player.put(b"\x80" * 160 + b"\x00" * 160)
    first = log.player.next_frame(0)
    log.player.leg_changed("G722", 20)
    second = log.player.next_frame(20)
    assert first == b"\x80" * 160
    assert second is not None
    assert len(second) == 160
    pcm = CODECS["G722"].decoder()(second)
    assert min(pcm[1::2]) >= 0
    assert max(pcm) > 0


def test_a_file_that_fails_midway_is_played_up_to_the_failure() -> None:
    log = Log()
    log.player.put(b"\x10" * 160)
    log.player.end("it broke")
    assert not log.over
    assert log.player.next_frame(0) == b"\x10" * 160
    assert log.over == ["it broke"]
