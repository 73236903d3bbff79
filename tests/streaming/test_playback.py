"""Playback to the call, and when marks are returned. The leg's clock is driven by hand, 20 ms a tick."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.codecs import CODECS, transcoder
from trunkline.media.report import QUIET
from trunkline.streaming.budget import Budget
from trunkline.streaming.playback import Playback
from trunkline.streaming.prebuffer import GAP

BLOCK = 16_384
BLOCK_COST = 20_480
MARK_COST = 160

SILENCE = b"\xff"


def playback(prebuffer: int = 60, limit: float = 600, mark_limit: int = 10_000, codec: str = "PCMU") -> Playback:
    return Playback(codec, prebuffer=prebuffer, limit=limit, mark_limit=mark_limit)


def ticks(queue: Playback, count: int, start: int = 0, ptime: int = 20) -> list[bytes | None]:
    return [queue.next_frame(start + number * ptime) for number in range(count)]


def audio(count: int) -> bytes:
    return bytes(number % 251 for number in range(count))


def test_a_burst_is_cut_to_packets_and_played_in_full() -> None:
    queue, sound = playback(), audio(24_000)
    for at in range(0, 24_000, 4000):
        assert queue.put(sound[at : at + 4000])
    frames = ticks(queue, 151)
    assert b"".join(frame for frame in frames if frame) == sound
    assert all(len(frame) == 160 for frame in frames[:150] if frame)
    assert frames[150] is None
    assert (queue.played_ms, queue.queued_ms, queue.underruns) == (3000, 0, 0)


def test_playback_waits_for_the_prebuffer() -> None:
    queue = playback(prebuffer=60)
    queue.put(audio(320))
    assert queue.next_frame(0) is None
    queue.put(audio(320))
    assert queue.next_frame(20) == audio(160)


def test_forty_ms_chunks_with_jitter_play_without_a_gap() -> None:
    queue = playback(prebuffer=60)
    arrivals = {0, 2, 5, 6, 8, 11, 12, 14}  # ticks; a chunk of two packets in each, up to one tick late
    frames = []
    for tick in range(16):
        if tick in arrivals:
            queue.put(audio(320))
        frames.append(queue.next_frame(tick * 20))
    assert frames[:2] == [None, None]
    assert None not in frames[2:]


def test_last_audio_shorter_than_the_prebuffer_is_played() -> None:
    queue = playback(prebuffer=60)
    queue.put(audio(320))
    assert ticks(queue, 6) == [None, None, None, audio(320)[:160], audio(320)[160:], None]


def test_a_rest_shorter_than_a_packet_is_padded_at_once_when_it_is_old() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(350))
    assert ticks(queue, 4) == [audio(160), audio(320)[160:], audio(350)[320:] + SILENCE * 130, None]
    assert queue.played_ms == 43


def test_a_fresh_rest_waits_one_packet_for_more() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(100))
    assert queue.next_frame(0) is None
    queue.put(audio(160)[100:])
    assert queue.next_frame(20) == audio(160)


def test_one_byte_comes_out_with_its_mark() -> None:
    queue = playback(prebuffer=60)
    queue.put(b"\x00")
    queue.mark(b'"m"')
    frames = ticks(queue, 5)
    assert frames == [None, None, None, b"\x00" + SILENCE * 159, None]
    assert queue.returned == [b'"m"']


def test_a_mark_with_nothing_queued_is_due_at_once() -> None:
    queue = playback()
    assert queue.mark(b"1")
    assert queue.returned == [b"1"]


def test_a_mark_is_due_when_the_last_byte_before_it_was_played() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(320))
    queue.mark(b"1")
    queue.put(audio(160))
    queue.mark(b"2")
    queue.mark(b"3")
    due = []
    for tick in range(4):
        queue.next_frame(tick * 20)
        due.append(list(queue.returned))
    assert due == [[], [], [b"1"], [b"1", b"2", b"3"]]


def test_a_mark_after_a_playing_packet_is_due_when_it_has_ended() -> None:
    for last in (audio(160), audio(40)):
        queue = playback(prebuffer=0)
        queue.put(last)
        at = 0
        while queue.next_frame(at) is None:
            at += 20
        assert queue.mark(b"1")
        assert (queue.returned, queue.rests()) == ([], False)
        assert queue.next_frame(at + 20) is None
        assert (queue.returned, queue.rests()) == ([b"1"], True)


def test_a_mark_behind_the_next_audio_is_not_due_with_the_padding_before_it() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(40))
    assert [queue.next_frame(at) for at in (0, 20)] == [None, audio(40) + SILENCE * 120]
    queue.put(audio(160))
    queue.mark(b"1")
    assert queue.next_frame(40) == audio(160)
    assert queue.returned == []
    queue.next_frame(60)
    assert queue.returned == [b"1"]


def test_clear_silences_the_next_packet_and_returns_all_marks_in_order() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(1600))
    queue.mark(b"1")
    queue.put(audio(1600))
    queue.mark(b"2")
    queue.next_frame(0)
    queue.clear()
    assert queue.returned == [b"1", b"2"]
    assert queue.next_frame(20) is None
    assert (queue.played_ms, queue.cleared_ms, queue.queued_ms) == (20, 380, 0)


def test_after_clear_playback_continues_with_later_audio() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(1600))
    queue.clear()
    queue.put(b"\x07" * 160)
    queue.mark(b"9")
    assert [queue.next_frame(at) for at in (0, 20)] == [b"\x07" * 160, None]
    assert queue.returned == [b"9"]
    assert queue.underruns == 0


def test_running_dry_and_starting_again_is_an_underrun() -> None:
    queue = playback(prebuffer=20)
    queue.put(audio(160))
    assert ticks(queue, 3) == [audio(160), None, None]
    assert queue.underruns == 0
    queue.put(audio(160))
    assert queue.next_frame(60) == audio(160)
    assert queue.underruns == 1


@pytest.mark.parametrize(("silence", "underruns"), [(GAP, 1), (GAP + 1, 0), (1000, 0)])
def test_the_next_utterance_is_no_underrun(silence: int, underruns: int) -> None:
    queue = playback(prebuffer=20)
    queue.put(audio(160))
    assert ticks(queue, 2) == [audio(160), None]
    queue.put(audio(160))
    assert queue.next_frame(20 + silence) == audio(160)
    assert queue.underruns == underruns


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("prebuffer", [0, 20, 60])
def test_chunks_shorter_than_a_packet_that_come_too_late_are_underruns(prebuffer: int, live: bool) -> None:
    """10 ms of audio each 20 ms: from the start of playback on every other packet is silence."""
    queue, gaps, heard = Playback("PCMU", prebuffer=prebuffer, limit=9, mark_limit=9, live=live), 0, False
    for at in range(0, 600, 20):
        queue.put(audio(80))
        frame = queue.next_frame(at)
        gaps += heard and frame is None
        heard = heard or frame is not None
    assert queue.underruns == gaps >= 7


@pytest.mark.parametrize("prebuffer", [0, 20, 60])
def test_chunks_shorter_than_a_packet_that_come_in_time_are_none(prebuffer: int) -> None:
    """10 ms each 10 ms, the first just before a tick, and the last a rest shorter than a packet."""
    queue = playback(prebuffer)
    queue.put(audio(80))
    for at in range(0, 400, 20):
        queue.next_frame(at)
        queue.put(audio(160))
    assert any(ticks(queue, 3 + GAP // 20, 400))
    queue.put(audio(80))
    queue.next_frame(480 + GAP)
    assert queue.underruns == 0


def test_a_burst_leaves_no_backlog_behind() -> None:
    queue = playback(prebuffer=60)
    queue.put(audio(24_000))
    at = 0
    while queue.queued_ms:
        queue.next_frame(at)
        at += 20
    for _ in range(50):  # a steady app from here on
        queue.put(audio(160))
        queue.next_frame(at)
        at += 20
    assert queue.queued_ms <= 60


@pytest.mark.parametrize("pause", [100, 300])
@pytest.mark.parametrize("rest", [0, 1, 40, 120, 159])
def test_silence_that_pads_a_rest_is_delay_too(rest: int, pause: int) -> None:
    """The app sends in real time, a rest shorter than a packet before a pause, and after it what it has not sent."""
    queue, silent, at = playback(), 0, 0
    for at in range(0, 2000, 20):
        queue.put(b"\x01" * 160)
        queue.next_frame(at)
    queue.put(b"\x01" * rest)
    silent = 20 * ticks(queue, pause // 20, 2000).count(None) + (20 - rest // 8 if rest else 0)
    queue.put(SILENCE * 8 * pause)
    for at in range(2000 + pause, 9000, 20):
        queue.put(SILENCE * 160)
        silent += 20 * (queue.next_frame(at) is None)
    assert queue.discarded_ms == silent >= 40


def test_behind_audio_that_our_clock_missed_the_rest_is_played_at_once() -> None:
    queue = playback(prebuffer=200)
    queue.put(b"\x01" * 160)
    assert ticks(queue, 10) == [None] * 10
    for at in range(200, 280, 20):
        assert queue.next_frame(at) == b"\x01" * 160
        queue.put(b"\x01" * 160)
    queue.held_up(280, 600, 0)
    queue.put(b"\x02" * 4800)
    assert queue.next_frame(880) == b"\x02" * 160
    assert 300 <= queue.discarded_ms <= 600
    assert queue.queued_ms < 200 - 20, "less than the prebuffer"


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
def test_without_transcoding_skipped_speech_changes_no_byte_of_the_rest(codec: str) -> None:
    row = CODECS[codec]
    samples = np.sin(2 * np.pi * 300 * np.arange(row.sample_rate) / row.sample_rate) * 6000
    speech = row.encoder()(samples.astype("<i2").tobytes())
    queue = playback(prebuffer=0, codec=codec)
    queue.leg_changed(codec, 20)
    queue.put(speech)
    played = ticks(queue, 10)
    queue.held_up(200, 360, 40)
    played += ticks(queue, 23, 560)
    assert b"".join(filter(None, played)) == speech[:1600] + speech[1600 + 360 * 8 :]


def test_over_the_limit_nothing_of_the_message_is_queued() -> None:
    queue = playback(limit=1)
    assert queue.put(bytes(8000))
    assert not queue.put(b"\x00")
    assert (queue.queued_ms, queue.overruns) == (1000, 1)


def test_ten_minutes_may_be_queued_by_default() -> None:
    queue = playback()
    assert all(queue.put(bytes(240_000)) for _ in range(20))
    assert not queue.put(b"\x00")


def test_marks_are_bounded() -> None:
    queue = playback(mark_limit=2)
    queue.put(audio(160))
    assert [queue.mark(b"%d" % number) for number in range(3)] == [True, True, False]


def test_the_legs_packets_may_be_longer() -> None:
    queue = playback(prebuffer=0)
    queue.leg_changed("PCMU", 30)
    queue.put(audio(480))
    assert ticks(queue, 3, ptime=30) == [audio(240), audio(480)[240:], None]


def test_audio_is_transcoded_to_the_codec_of_the_leg() -> None:
    queue = playback(prebuffer=0, codec="PCMA")
    queue.leg_changed("PCMU", 20)
    queue.put(audio(160))
    assert queue.next_frame(0) == transcoder("PCMA", "PCMU").convert(audio(160))


def test_a_codec_change_amid_playback_loses_nothing() -> None:
    queue = playback(prebuffer=0)
    queue.put(audio(480))
    first = queue.next_frame(0)
    queue.leg_changed("PCMA", 20)
    second = queue.next_frame(20)
    queue.leg_changed("PCMU", 20)
    assert first == audio(160)
    assert second == transcoder("PCMU", "PCMA").convert(audio(320)[160:])
    assert queue.next_frame(40) == audio(480)[320:]


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=900), min_size=1, max_size=20),
    ptime=st.sampled_from([10, 20, 30, 60]),
    prebuffer=st.integers(0, 500),
)
def test_any_chunking_plays_byte_for_byte_with_marks_behind_their_audio(
    chunks: list[bytes], ptime: int, prebuffer: int
) -> None:
    queue, packet = playback(prebuffer=prebuffer), ptime * 8
    queue.leg_changed("PCMU", ptime)
    for number, chunk in enumerate(chunks):
        queue.put(chunk)
        queue.mark(b"%d" % number)
    sound, ends = b"".join(chunks), list[int]()
    for chunk in chunks:
        ends.append((ends[-1] if ends else 0) + len(chunk))
    played = b""
    for at in range(0, prebuffer + (len(sound) // packet + 4) * ptime, ptime):
        frame = queue.next_frame(at)
        assert queue.returned == [b"%d" % number for number, end in enumerate(ends) if end <= len(played)]
        if frame is not None:
            assert len(frame) == packet
            played += frame
    assert len(queue.returned) == len(chunks)
    assert played[: len(sound)] == sound
    assert set(played[len(sound) :]) <= set(SILENCE)
    assert len(played) - len(sound) < packet


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=700)), max_size=40))
def test_media_at_any_times_are_played_in_order_and_completely(events: list[tuple[bool, bytes]]) -> None:
    queue, sound, played, at = playback(prebuffer=40), b"", b"", 0
    for tick, chunk in events:
        if tick:
            played += queue.next_frame(at) or b""
            at += 20
        else:
            queue.put(bytes(byte & 0x7F for byte in chunk))  # no byte that could be taken for padding
            sound += bytes(byte & 0x7F for byte in chunk)
    for _ in range(len(sound) // 160 + 5):
        played += queue.next_frame(at) or b""
        at += 20
    assert played.replace(SILENCE, b"") == sound
    assert queue.queued_ms == 0


def test_counters_in_ms_stay_when_the_queue_takes_the_legs_codec() -> None:
    queue = playback(prebuffer=0)
    queue.put(bytes(8 * 200))
    ticks(queue, 2)
    queue.held_up(40, 100, 0)
    ticks(queue, 1, 140)
    queue.leg_changed("L16/16000", 20)
    queue.follow_leg()
    assert queue.codec == "PCMU", "some is queued"
    queue.clear()
    counted = queue.played_ms, queue.discarded_ms, queue.cleared_ms
    assert counted == (60, 100, 40)
    queue.follow_leg()
    assert (queue.codec, queue.played_ms, queue.discarded_ms, queue.cleared_ms) == ("L16/16000", *counted)
    queue.put(bytes(32 * 20))
    assert ticks(queue, 1, 160) == [bytes(32 * 20)]
    assert queue.played_ms == 80
    assert queue.room == 600 * 1000 * 32


def test_the_meter_follows_the_queue_to_another_codec() -> None:
    queue = playback()
    queue.leg_changed("PCMA", 20)
    queue.follow_leg()
    queue.put(CODECS["PCMA"].silence(20) * 10)
    assert queue.meter.samples == 1
    assert queue.meter.loudest < QUIET


def test_audio_takes_memory_in_blocks_and_gives_it_back_when_it_was_played() -> None:
    budget = Budget(3 * BLOCK_COST)
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9, budget=budget)
    assert queue.put(bytes(BLOCK))
    assert budget.held == BLOCK_COST
    assert queue.put(bytes(BLOCK + 1))
    assert budget.held == 3 * BLOCK_COST
    assert not queue.put(bytes(BLOCK))
    assert (queue.short, queue.overruns) == (True, 1)
    ticks(queue, 2 * BLOCK // 160 + 3)
    assert (queue.queued_ms, budget.held) == (0, BLOCK_COST)
    queue.release()
    assert budget.held == 0


def test_a_mark_takes_memory_until_it_is_taken() -> None:
    budget = Budget(BLOCK_COST + 2 * (MARK_COST + 10))
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9, budget=budget)
    queue.put(audio(160))
    assert [queue.mark(b"x" * 10) for _ in range(3)] == [True, True, False]
    assert queue.short
    queue.clear()
    assert len(queue.take_returned()) == 2
    assert budget.held == BLOCK_COST
    queue.put(audio(160))
    assert queue.mark(b"x" * 10)
    queue.release()
    assert budget.held == 0


def test_too_many_marks_are_no_lack_of_memory_though_there_was_one_before() -> None:
    budget = Budget(BLOCK_COST + 2 * (MARK_COST + 1))
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=2, budget=budget)
    queue.put(audio(160))
    assert [queue.mark(b"x") for _ in range(2)] == [True, True]
    assert not queue.put(bytes(BLOCK))
    assert queue.short
    assert not queue.mark(b"x")
    assert not queue.short


def test_promised_audio_keeps_its_memory_when_other_audio_is_cleared() -> None:
    budget = Budget(9 * BLOCK_COST)
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9, budget=budget)
    room = queue.room
    assert queue.put(bytes(BLOCK))
    assert queue.promise(2 * BLOCK)
    queue.clear()
    assert (queue.queued_ms, budget.held) == (0, 2 * BLOCK_COST)
    queue.put_promised(bytes(2 * BLOCK))
    assert queue.room == room - 2 * BLOCK


def test_promised_audio_finds_room_whatever_others_take() -> None:
    budget = Budget(3 * BLOCK_COST)
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9, budget=budget)
    assert queue.promise(2 * BLOCK)
    assert budget.take(BLOCK_COST)
    assert not queue.promise(1)
    queue.clear()
    queue.put_promised(bytes(2 * BLOCK))
    assert queue.queued_ms == 2 * BLOCK // 8


def test_after_a_clear_more_than_a_block_is_paid_again() -> None:
    budget = Budget(3 * BLOCK_COST)
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9, budget=budget)
    assert queue.put(bytes(3 * BLOCK))
    queue.clear()
    assert budget.held == BLOCK_COST
    assert budget.take(BLOCK_COST)
    assert queue.put(bytes(BLOCK))
    assert not queue.put(bytes(BLOCK + 1))
    assert queue.put(bytes(BLOCK))


def test_less_than_a_block_is_no_room_beyond_the_limit() -> None:
    queue = Playback("PCMU", prebuffer=0, limit=0.02, mark_limit=9)
    assert [queue.put(bytes(size)) for size in (1, 159, 1)] == [True, True, False]
    queue.clear()
    assert [queue.put(bytes(size)) for size in (161, 160)] == [False, True]


def test_counters_of_a_fresh_queue_are_zero_to_the_byte() -> None:
    queue = Playback("PCMU", prebuffer=0, limit=600, mark_limit=9)
    queue.put(bytes(7))
    queue.clear()
    assert (queue.cleared_ms, queue.played_ms, queue.discarded_ms, queue.underruns, queue.overruns) == (0, 0, 0, 0, 0)
    queue.put(bytes(1))
    queue.clear()
    assert queue.cleared_ms == 1
