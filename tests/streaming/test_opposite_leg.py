"""What the opposite leg plays of a stream: in time with the stream's leg, at any packet times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.codecs import CODECS
from trunkline.streaming.opposite_leg import OppositeLegCopy, OppositeLegPlayer, PlaybackRouter
from trunkline.streaming.params import TargetLegs
from trunkline.streaming.playback import Playback

LIMIT_MS = 500

PTIMES = (10, 20, 30, 60)


@given(
    st.sampled_from(PTIMES),
    st.sampled_from(PTIMES),
    st.integers(0, 55),
    st.lists(st.tuples(st.integers(1, 12), st.integers(4, 20)), min_size=1, max_size=4),
)
def test_a_copy_plays_each_utterance_byte_for_byte(
    own: int, opposite: int, phase: int, utterances: list[tuple[int, int]]
) -> None:
    """`utterances`: packets of audio, and the packets of silence behind them, of 60 ms."""
    copy = OppositeLegCopy()
    copy.leg_changed("PCMU", opposite)
    said, fed, time = [], {}, 0
    for number, (length, rest) in enumerate(utterances):
        said.append(b"".join(bytes([16 * number + n % 16]) * (own * 8) for n in range(length)))
        for n in range(length):
            fed[time] = said[-1][own * 8 * n :][: own * 8]
            time += own
        time += rest * 60
    heard = []
    for now in range(time + 600):
        if now in fed:
            copy.feed(fed[now], "PCMU")
        if now % opposite == phase // 5 * 5 % opposite:
            heard.append(copy.next_frame(0))
    played = [frame for frame in heard if frame is not None]
    assert {len(frame) for frame in played} == {opposite * 8}
    expected = b"".join(one + b"\xff" * (-len(one) % (opposite * 8)) for one in said)
    assert b"".join(played) == expected
    # Each without a gap.
    begun = sum(before is None and frame is not None for before, frame in zip([None, *heard], heard, strict=False))
    assert begun <= len(utterances)


def test_a_copy_has_the_codec_of_its_leg_and_a_bounded_delay() -> None:
    copy = OppositeLegCopy()
    copy.leg_changed("G722", 20)
    tone = np.rint(8000 * np.sin(2 * np.pi * 3000 * np.arange(16000) / 16000)).astype("<i2").tobytes()
    for start in range(0, len(tone), 640):  # a second in which no frame is asked for
        copy.feed(tone[start : start + 640], "L16/16000")
    heard = [frame for frame in (copy.next_frame(0) for _ in range(60)) if frame is not None]
    assert len(heard) == LIMIT_MS // 20
    pcm = np.frombuffer(CODECS["G722"].decoder()(b"".join(heard)), "<i2")[800:]
    assert np.abs(np.fft.rfft(pcm)).argmax() * 16000 / len(pcm) == pytest.approx(3000, abs=5)


def test_a_player_of_the_opposite_leg_continues_the_stream_time() -> None:
    asked: list[int] = []
    changed: list[tuple[str, int]] = []
    held: list[tuple[int, int, int]] = []
    speaker = OppositeLegPlayer(
        lambda at: asked.append(at),
        lambda codec, ptime: changed.append((codec, ptime)),
        lambda at, skipped, late: held.append((at, skipped, late)),
        5000,
    )
    speaker.leg_changed("PCMA", 30)
    for at in (90, 120, 150):
        assert speaker.next_frame(at) is None
    speaker.held_up(180, 240, 60)
    assert speaker.next_frame(420) is None
    assert asked == [5030, 5060, 5090, 5360]
    assert changed == [("PCMA", 30)]
    assert held == [(5120, 240, 60)]


def test_once_the_opposite_leg_is_gone_the_own_one_is_played_to() -> None:
    playback = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9)
    router = PlaybackRouter(TargetLegs.OPPOSITE, playback)
    router.own_leg_changed("PCMA", 30)
    tap, drives = router.bridged(playback.next_frame, playback.held_up)
    assert not drives
    tap.leg_changed("PCMU", 20)
    playback.put(bytes(160 * 3))
    assert router.route(tap.next_frame(0), 0) == bytes(160)
    router.parted()
    frame = playback.next_frame(20)
    assert frame is not None
    assert len(frame) == 240
    assert router.route(frame, 20) is None
    assert router.undelivered_ms == 30
