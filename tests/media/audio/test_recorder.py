"""Both tracks of a leg as blocks for a file: each sample is placed by its time, whatever the order of arrival."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trunkline.media.audio.recorder import Recorder
from trunkline.media.codecs import CODECS

AHEAD_MS = 3000
BLOCK_MS = 500
JOIN_MS = 10
LATE_MS = 1200

QUIET = b"\xff" * 160


def loud(number: int) -> bytes:
    """20 ms of one PCMU level, a different one for each of 100 numbers."""
    return bytes([0x80 + number % 100]) * 160


class Log:
    """A recorder, and the blocks that it returns."""

    def __init__(self, channels: int = 1, codec: str = "PCMU", **asked: Any) -> None:
        self.blocks: list[bytes] = []
        self.over: list[tuple[str, str]] = []
        self._channels = channels
        options: dict[str, Any] = {"max_length": 0, "silence": 0, "loud": -45, "finish_on": ""}
        self.recorder = Recorder(
            channels,
            **options | asked,
            on_block=self.blocks.append,
            on_over=lambda why, digit: self.over.append((why, digit)),
        )
        self.recorder.leg_changed(codec, 20)

    def run(self, start: int, end: int, says: bytes = QUIET) -> None:
        """Both clocks, from packet to packet."""
        for at in range(start, end, 20):
            self.recorder.outbound_frame(QUIET, at)
            self.recorder.inbound_frame(says, at, 0)

    @property
    def sides(self) -> NDArray[np.int16]:
        """The samples, a row for each channel."""
        return np.frombuffer(b"".join(self.blocks), "<i2").reshape(-1, self._channels).T


def expected(payload: bytes) -> NDArray[np.int16]:
    return np.frombuffer(CODECS["PCMU"].decoder()(payload), "<i2")


@given(
    st.lists(st.tuples(st.integers(0, 150), st.booleans()), min_size=1, max_size=80),
    st.integers(0, 5000),
)
def test_late_or_lost_packets_move_no_other_sample(packets: list[tuple[int, bool]], first: int) -> None:
    """`packets`: by how much each comes late, and whether it is lost."""
    log = Log(2)
    log.recorder.outbound_frame(loud(0), first)
    arrivals: dict[int, list[int]] = {}
    free = 0
    for number, (late, lost) in enumerate(packets):  # in order, as a jitter buffer releases them
        free = max(free, number * 20 + late)
        if not lost:
            arrivals.setdefault(free // 20, []).append(number)
    for n in range(len(packets) + 10):
        if n:
            log.recorder.outbound_frame(loud(n), first + 20 * n)
        for number in arrivals.get(n, ()):
            log.recorder.inbound_frame(loud(number), first + 20 * number, 0)
    log.recorder.finish()
    said, heard = log.sides
    assert len(said) == 160 * (len(packets) + 10) == 8 * log.recorder.recorded_ms
    assert (heard == expected(b"".join(loud(n) for n in range(len(packets) + 10)))).all()
    for number, (_, lost) in enumerate(packets):
        piece = said[160 * number : 160 * number + 160]
        assert (piece == (0 if lost else expected(loud(number)))).all()
    assert {len(block) for block in log.blocks[:-1]} <= {BLOCK_MS * 32}
    assert log.over == []


def test_a_timeline_that_moves_a_little_leaves_no_clicks_and_no_drift() -> None:
    log = Log()
    log.recorder.outbound_frame(QUIET, 0)
    for n in range(1000):  # 2 ms per 50 packets: a clock that is off by 2000 ppm
        log.recorder.outbound_frame(QUIET, 20 * n)
        log.recorder.inbound_frame(loud(3), 20 * n + n // 50 * 2, 0)
    log.recorder.finish()
    gaps = np.count_nonzero(log.sides[0] == 0)
    assert gaps == 3 * 12 * 8, "three times, when both are apart by more than 10 ms"


def test_a_recording_ends_at_its_limit_to_the_sample() -> None:
    log = Log(max_length=1.23)
    log.run(100, 4000, loud(1))
    assert log.over == [("limit", "")]
    log.recorder.finish()
    assert log.recorder.recorded_ms == 1230
    assert log.sides.size == 1230 * 8


@pytest.mark.parametrize("length", [20, BLOCK_MS - 20, BLOCK_MS, BLOCK_MS + 20, 5 * BLOCK_MS])
def test_all_blocks_but_the_last_are_full_and_none_is_empty(length: int) -> None:
    log = Log()
    log.run(100, 100 + length, loud(1))
    log.recorder.finish()
    full, rest = divmod(length, BLOCK_MS)
    assert [len(block) // 16 for block in log.blocks] == [BLOCK_MS] * full + [rest] * (rest > 0)
    assert log.over == []


def test_a_block_is_handed_out_when_no_late_packet_can_come() -> None:
    log = Log()
    log.run(100, 100 + BLOCK_MS + LATE_MS - 20, loud(1))
    assert log.blocks == []
    log.run(100 + BLOCK_MS + LATE_MS - 20, 100 + BLOCK_MS + LATE_MS)
    assert len(log.blocks) == 1


@pytest.mark.parametrize(("ahead", "taken"), [(AHEAD_MS, True), (AHEAD_MS + 1, False)])
def test_a_frame_too_far_ahead_is_left_out(ahead: int, taken: bool) -> None:
    log = Log(max_length=10)
    log.recorder.outbound_frame(QUIET, 100)
    log.recorder.inbound_frame(loud(1), 100 + ahead, 0)
    for at in range(120, 5100, 20):
        log.recorder.outbound_frame(QUIET, at)
    log.recorder.finish()
    assert log.sides.any() == taken


@pytest.mark.parametrize("apart", [JOIN_MS, JOIN_MS + 1])
def test_frames_apart_or_overlapping_by_a_little_are_joined(apart: int) -> None:
    joined = apart == JOIN_MS
    for shift in (apart, -apart):
        log = Log()
        log.recorder.outbound_frame(QUIET, 0)
        log.recorder.inbound_frame(loud(1), 0, 0)
        log.recorder.inbound_frame(loud(2), 20 + shift, 0)
        log.run(20, 100, b"")
        log.recorder.finish()
        first, second = expected(loud(1)), expected(loud(2))
        gap = [] if joined or shift < 0 else [0] * 8 * apart
        whole = [*first, *gap, *(second if joined or shift > 0 else second[8 * apart :])]
        assert [*log.sides[0]] == whole + [0] * (800 - len(whole))


def test_silence_ends_it_counted_from_the_start_or_the_last_speech() -> None:
    log = Log(silence=1)
    log.run(0, 1000)
    assert log.over == [("silence", "")]
    log = Log(silence=1)
    log.run(0, 700)
    log.run(700, 720, loud(0))
    log.run(720, 1680)
    assert log.over == []
    log.run(1680, 1740)
    assert log.over == [("silence", "")]
    # A peer that sends no packet is silent, too.
    log = Log(silence=1)
    for at in range(0, 1000, 20):
        log.recorder.outbound_frame(QUIET, at)
    assert log.over == [("silence", "")]


def test_a_finishing_key_ends_it_and_other_keys_do_not() -> None:
    log = Log(finish_on="#*")
    log.run(0, 300, loud(1))
    log.recorder.digit("1")
    assert log.over == []
    log.recorder.digit("*")
    log.recorder.digit("#")
    log.run(300, 3000, loud(1))
    log.recorder.finish()
    log.recorder.finish()
    assert log.over == [("key", "*")]
    assert log.sides.size == 300 * 8


@pytest.mark.parametrize(("codec", "rate"), [("PCMA", 8000), ("G722", 16000), ("OPUS", 16000)])
def test_the_rate_is_that_of_the_first_codec_and_stays(codec: str, rate: int) -> None:
    log = Log(2, codec)
    row = CODECS[codec]
    assert log.recorder.rate == rate
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(row.sample_rate * 2) / row.sample_rate)).astype("<i2").tobytes()
    encode, size = row.encoder(), row.sample_rate // 50 * 2
    for n in range(50):
        log.recorder.outbound_frame(row.silence(20), 20 * n)
        log.recorder.inbound_frame(encode(tone[size * n : size * n + size]), 20 * n, 0)
    log.recorder.leg_changed("PCMU", 20)
    pcmu = CODECS["PCMU"].encoder()((8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype("<i2").tobytes())
    for n in range(50, 100):
        log.recorder.outbound_frame(QUIET, 20 * n)
        log.recorder.inbound_frame(pcmu[160 * (n - 50) : 160 * (n - 49)], 20 * n, 0)
    log.recorder.finish()
    said, heard = log.sides.astype(np.float64)
    assert len(said) == 2 * rate
    for half in (said[rate // 4 : rate - 640], said[rate + 640 :]):
        spectrum = np.abs(np.fft.rfft(half * np.hanning(len(half))))
        assert round(spectrum.argmax() * rate / len(half)) in range(437, 444)
        assert np.std(half) > 4000
    assert np.std(heard) < 20


def test_audio_too_far_ahead_or_undecodable_is_left_out() -> None:
    log = Log(1, "OPUS")
    log.recorder.outbound_frame(CODECS["OPUS"].silence(20), 0)
    log.recorder.inbound_frame(b"\xff\xff", 0, 0)
    log.recorder.inbound_frame(CODECS["OPUS"].silence(20), 100_000, 0)
    for at in range(20, BLOCK_MS + LATE_MS + 20, 20):
        log.recorder.outbound_frame(b"", at)
    log.recorder.finish()
    assert not log.sides.any()
    assert log.recorder.recorded_ms == BLOCK_MS + LATE_MS + 20
    assert log.recorder.next_frame(0) is None


def test_one_channel_is_the_clipped_sum_of_both_sides() -> None:
    log = Log(1)
    said, heard, quiet = loud(1), loud(40), loud(127)
    for at, one in enumerate((said, quiet, said)):
        log.recorder.outbound_frame(heard, at * 20)
        log.recorder.inbound_frame(one, at * 20, 0)
    log.recorder.finish()
    sums = [expected(one).astype(int) + expected(heard) for one in (said, quiet, said)]
    assert list(log.sides[0]) == list(np.concatenate(sums).clip(-32768, 32767))


@pytest.mark.parametrize(("track", "silent"), [("inbound", 1), ("outbound", 0)])
def test_of_one_side_the_other_channel_is_silent(track: str, silent: int) -> None:
    log = Log(2, track=track)
    for at in range(0, 100, 20):
        log.recorder.outbound_frame(loud(3), at)
        log.recorder.inbound_frame(loud(3), at, 0)
    log.recorder.finish()
    assert not log.sides[silent].any()
    assert list(log.sides[1 - silent]) == list(expected(loud(3))) * 5
    mono = Log(1, track=track)
    for at in range(0, 100, 20):
        mono.recorder.outbound_frame(loud(3 if track == "outbound" else 9), at)
        mono.recorder.inbound_frame(loud(3 if track == "inbound" else 9), at, 0)
    mono.recorder.finish()
    assert list(mono.sides[0]) == list(expected(loud(3))) * 5


def test_a_pause_leaves_out_both_sides_alike_and_counts_not_against_the_limit() -> None:
    log = Log(2, max_length=3)
    log.run(0, 1000, loud(1))
    log.recorder.pause(True)
    log.run(1000, 6000, loud(2))
    log.recorder.pause(False)
    log.run(6000, 7500, loud(3))
    assert log.over == []
    log.recorder.finish()
    assert log.recorder.recorded_ms == 2500
    said = log.sides[0]
    assert list(said) == list(expected(loud(1))) * 50 + list(expected(loud(3))) * 75
    again = Log(2, max_length=2)
    again.run(0, 1000)
    again.recorder.pause(True)
    again.recorder.pause(False)
    again.run(5000, 6000)
    assert again.over == [("limit", "")]


def test_silence_may_count_only_once_the_peer_has_spoken() -> None:
    log = Log(silence=1, after_speech=True)
    log.run(0, 5000)
    assert log.over == []
    log.run(5000, 5200, loud(1))
    log.run(5200, 6300)
    assert log.over == [("silence", "")]
