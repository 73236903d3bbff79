"""Catching up after a stall: apps, callers and clocks driven by hand, in milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.media.codecs import CODECS, transcoder
from trunkline.streaming.catchup import CatchUp, squeeze
from trunkline.streaming.playback import Playback

AGAIN = 3000
CALM = 3
ECHO = 300
FAINT = -50
LAPSE = 5000
LEAST = 10
LONGEST_WINDOW = 4000
SETTLE = 250
SPACING = 20
STEADY = 150
WINDOW = 1000

FRAME = 20
PERIOD = 25
"""Frames from one pulse to the next, of which all but the first two are silent."""
SILENCE = b"\xff" * 160
PHASE = 7
"""Of the caller's clock against ours."""
STALL, STRIDE, HELD_UP = 200, 120, 40
"""As the engine has them."""

Stalls = Sequence[tuple[int, int]]


def pulse(number: int) -> bytes:
    """A loud frame with its number in its bytes: those below 0x40 are loud in PCMU."""
    return bytes((number & 0x3F, number >> 6 & 0x3F)) * 80


def frame_of(number: int) -> bytes:
    return pulse(number) if number % PERIOD < 2 else SILENCE


def over(stalls: Stalls, at: float) -> float:
    """The time at which a delayed clock continues."""
    return next((start + length for start, length in stalls if start <= at < start + length), at)


@dataclass
class Call:
    """A caller whose frames go to an app, which returns them: so many in a message, after so many ms on the way."""

    together: int = 1
    distance: int = 2
    queue: Playback = field(default_factory=lambda: Playback("PCMU", prebuffer=60, limit=600, mark_limit=10_000))
    sent: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Packets to the caller, by when they left."""
    returned: list[tuple[int, bytes]] = field(default_factory=list)
    """Marks, by when they came back."""
    marked: list[bytes] = field(default_factory=list)

    def run(self, until: int, *, worker: Stalls = (), app: Stalls = ()) -> "Call":
        answers, at, leg = self._answers(until, worker, app), 0, 0
        while at < until:
            goes_on = over(worker, at)
            while answers and answers[0][0] <= goes_on:
                audio = answers.pop(0)[1]
                self.queue.put(audio)
                if audio.strip(b"\xff"):
                    self.marked.append(b"%d" % len(self.marked))
                    self.queue.mark(self.marked[-1])
            behind = int(goes_on - at) // 5 * 5
            skipped = behind // STRIDE * STRIDE if behind > STALL else 0
            if goes_on - at > HELD_UP:
                self.queue.held_up(leg, skipped, behind - skipped)
            at, leg = at + skipped, leg + skipped
            while True:
                self.sent.append((max(at, int(goes_on)), self.queue.next_frame(leg)))
                due, self.queue.returned = self.queue.returned, []
                self.returned += [(max(at, int(goes_on)), name) for name in due]
                at, leg = at + FRAME, leg + FRAME
                if at > goes_on:
                    break
        return self

    def _answers(self, until: int, worker: Stalls, app: Stalls) -> list[tuple[float, bytes]]:
        answers: list[tuple[float, bytes]] = []
        kept, last = b"", 0.0
        for number in range(until // FRAME):
            heard = over(app, over(worker, number * FRAME + PHASE) + self.distance / 2)
            kept += frame_of(number)
            if len(kept) == 160 * self.together:
                last = max(last, heard + self.distance / 2)
                answers.append((over(worker, last), kept))
                kept = b""
        return answers

    def delay(self, start: int, end: int) -> float:
        """The delays, in ms, of the pulses that begin to be played in this time."""
        found = []
        for at, frame in self.sent:
            loud = next((n for n, byte in enumerate(frame or b"") if byte < 0x40), 159)
            if frame and loud < 159 and frame[loud + 1] < 0x40 and start <= at < end:
                number = frame[loud] | frame[loud + 1] << 6
                if number % PERIOD == 0:
                    found.append(at + loud / 8 - number * FRAME - PHASE)
        return median(found)


LENGTHS = (60, 100, 200, 210, 400, 700)


@pytest.mark.parametrize("distance", [2, 60, 250])
@pytest.mark.parametrize("together", [1, 2, 10, 50])
@pytest.mark.parametrize("who", ["worker", "app"])
@pytest.mark.parametrize("length", LENGTHS)
def test_four_seconds_after_a_stall_the_delay_is_what_it_was(
    who: str, length: int, together: int, distance: int
) -> None:
    for start in (8003, 8111):
        stalls = {who: [(start, length)]}
        call = Call(together, distance).run(16_000, **stalls)
        before, after = call.delay(5000, start), call.delay(start + length + 4000, 16_000)
        assert abs(after - before) <= 5
        assert [name for _, name in call.returned] == call.marked[: len(call.returned)]
        assert len(call.marked) - len(call.returned) <= 2


def test_stall_after_stall_leaves_nothing() -> None:
    stalls = [(start, 100 + start // 100) for start in range(6000, 60_000, 5000)]
    call = Call(distance=80).run(70_000, worker=stalls[::2], app=stalls[1::2])
    assert abs(call.delay(65_000, 70_000) - call.delay(3000, 6000)) <= 20


def test_a_late_tick_is_followed_by_ticks_that_make_up_for_it() -> None:
    queue = Playback("PCMU", prebuffer=60, limit=600, mark_limit=10)
    queue.put(b"".join(map(pulse, range(50))))
    assert queue.next_frame(0) == pulse(0)
    queue.held_up(20, 0, 200)
    assert [queue.next_frame(20 * number) for number in range(1, 50)] == [pulse(number) for number in range(1, 50)]
    assert queue.discarded_ms == 0


def test_audio_of_skipped_ticks_is_dropped_and_its_marks_returned() -> None:
    queue = Playback("PCMU", prebuffer=60, limit=600, mark_limit=100)
    for number in range(50):
        queue.put(pulse(number))
        queue.mark(b"%d" % number)
    assert queue.next_frame(0) == pulse(0)
    queue.held_up(20, 360, 40)
    assert queue.returned == []
    assert queue.next_frame(380) == pulse(19)
    assert queue.returned == [b"%d" % number for number in range(19)]
    assert queue.next_frame(400) == pulse(20)
    assert (queue.discarded_ms, queue.played_ms) == (360, 60)


def test_audio_in_the_prebuffer_is_skipped_from_its_due_start() -> None:
    queue = Playback("PCMU", prebuffer=60, limit=600, mark_limit=10)
    queue.put(pulse(1) * 2)
    assert queue.next_frame(0) is None
    queue.put(b"".join(pulse(number) for number in range(2, 20)))
    queue.held_up(20, 120, 0)
    assert queue.next_frame(140) == pulse(3)
    assert queue.discarded_ms == 60


# ── no loss ─────────────────────────────────────────────────────────────────────────────────────────────────


def play(chunks: list[tuple[int, bytes]], until: int, **held: int) -> tuple[bytes, Playback]:
    """The frames played of chunks that arrive at these times, and the queue afterwards."""
    queue, played = Playback("PCMU", prebuffer=60, limit=600, mark_limit=10), b""
    for at in range(0, until, FRAME):
        while chunks and chunks[0][0] <= at:
            queue.put(chunks.pop(0)[1])
        if held and at == held["at"]:
            queue.held_up(**held)
        played += queue.next_frame(at) or b""
    return played, queue


@pytest.mark.parametrize("loudness", [0x00, 0xFF], ids=["loud", "silent"])
@pytest.mark.parametrize("pause", [0, 100, 300, 480, 900, 4000])
@pytest.mark.parametrize("pieces", [1, 6])
def test_bursts_with_any_pauses_lose_no_audio(loudness: int, pause: int, pieces: int) -> None:
    chunks, at = [], 0
    for length in (500, 3000, 3000, 1000, 5000):
        chunks += [(at, bytes([loudness]) * (length * 8 // pieces))] * pieces
        at += length + pause
    size = sum(len(audio) for _, audio in chunks)
    played, queue = play(chunks, at + 1000)
    assert len(played) - size < 160 * 5
    assert (queue.played_ms, queue.discarded_ms) == (size // 8, 0)


@pytest.mark.parametrize("loudness", [0x00, 0xFF], ids=["loud", "silent"])
@pytest.mark.parametrize("pause", [0, 100, 300, 480, 900])
@pytest.mark.parametrize("lead", [0, 160, 400])
def test_a_constant_lead_with_any_pauses_loses_no_audio(loudness: int, pause: int, lead: int) -> None:
    chunks, at, frame = [], 0, bytes([loudness]) * 160
    for frames in (120, 300, 80, 500):
        chunks += [(at + max(0, number * FRAME - lead), frame) for number in range(frames)]
        at += frames * FRAME + pause
    size = sum(len(audio) for _, audio in chunks)
    _, queue = play(chunks, at + 1000)
    assert (queue.played_ms, queue.discarded_ms) == (size // 8, 0)


@pytest.mark.parametrize("late", [60, 100, 200])
def test_an_utterance_that_ends_in_a_clock_delay_does_not_shorten_the_next(late: int) -> None:
    first, second = [(0, b"\x00" * 8000)], [(1300, b"\x01" * 24_000)]
    _, queue = play(first + second, 6000, at=980, skipped=0, late=late)
    assert (queue.played_ms, queue.discarded_ms) == (4000, 0)


@pytest.mark.parametrize(("stall", "whole"), [(LAPSE - 200, False), (LAPSE + 200, True)])
def test_a_backlog_after_a_long_silence_is_a_new_utterance_and_played_whole(stall: int, whole: bool) -> None:
    """A backlog after a shorter one is a delay, of which the silence in it is removed."""
    chunks = [
        (number * FRAME if number < 100 else max(2000 + stall, number * FRAME), SILENCE) for number in range(1000)
    ]
    _, queue = play(chunks, 40_000)
    assert (queue.discarded_ms == 0) is whole
    assert queue.played_ms + queue.discarded_ms == 20_000


def test_an_app_that_sends_faster_than_real_time_loses_no_audio() -> None:
    chunks = [(number * 50, SILENCE * 5) for number in range(20)]
    chunks += [(2000 + 60 + 300 + number * 50, SILENCE * 5) for number in range(200)]
    _, queue = play(chunks, 25_000)
    assert (queue.played_ms, queue.discarded_ms) == (22_000, 0)


def test_files_are_never_shortened() -> None:
    queue = Playback("PCMU", prebuffer=60, limit=600, mark_limit=10, live=False)
    queue.put(pulse(0) * 100)
    queue.next_frame(0)
    queue.held_up(20, 360, 40)
    while queue.next_frame(380) is not None:
        pass
    assert (queue.played_ms, queue.discarded_ms) == (2000, 0)


@given(
    st.lists(st.tuples(st.sampled_from(["app", "worker", "none"]), st.integers(20, 900)), max_size=8),
    st.integers(1, 12),
    st.integers(1, 200),
)
def test_audio_dropped_is_at_most_the_silence_inserted_or_the_ticks_missed(
    stalls: list[tuple[str, int]], together: int, distance: int
) -> None:
    found: dict[str, list[tuple[int, int]]] = {"app": [], "worker": [], "none": []}
    at = 1500
    for who, length in stalls:
        found[who].append((at, length))
        at += length + 400
    call = Call(together, distance).run(at + 3000, worker=found["worker"], app=found["app"])
    packets = [frame for _, frame in call.sent]
    began = next((number for number, frame in enumerate(packets) if frame), 0)
    silent = sum(frame is None for frame in packets[began:]) * FRAME
    skipped = sum(length // STRIDE * STRIDE for _, length in found["worker"] if length > STALL)
    padded = call.queue.underruns * FRAME + FRAME * len(stalls)
    assert call.queue.discarded_ms <= silent + skipped + padded
    names = [name for _, name in call.returned]
    assert names == call.marked[: len(names)]


# ── the measured delay ──────────────────────────────────────────────────────────────────────────────────────


def late(milliseconds: int, pace: int = 0) -> CatchUp:
    """After so much silence, from 1000 on, audio is played again."""
    catch = CatchUp()
    catch.ran_dry(1000, pace)
    assert catch.goes_on(1000 + milliseconds)
    catch.started(1000 + milliseconds)
    return catch


def windows(catch: CatchUp, count: int = 1, paces: tuple[int, int] = (0, 0), length: int = WINDOW) -> list[bool]:
    """What `measure` returns at the end of each window."""
    ends = []
    for number in range(count):
        at = 10_000 + number * 2 * length
        assert catch.measure(at, paces[0])
        assert catch.measure(at + length - 1, paces[0])
        assert catch.due == 0
        ends.append(catch.measure(at + length, paces[1]))
    return ends


@pytest.mark.parametrize(("silence", "due"), [(LEAST - 1, 0), (LEAST, LEAST), (200, 200), (LAPSE, LAPSE)])
def test_a_delay_is_removed_from_ten_milliseconds_on(silence: int, due: int) -> None:
    catch = late(silence)
    assert windows(catch) == [True]
    assert catch.due == due


@pytest.mark.parametrize(
    ("paces", "due"),
    [
        ((0, STEADY), 200 - STEADY // 3),
        ((0, STEADY + 1), 0),
        ((-STEADY, -STEADY), 200),
        ((-STEADY - 1, -STEADY - 1), 0),
        ((50, 50), 150),
        ((300, 300), 0),
    ],
)
def test_what_the_app_is_behind_is_no_delay_and_an_unsteady_pace_shows_none(paces: tuple[int, int], due: int) -> None:
    catch = late(200)
    windows(catch, paces=paces)
    assert catch.due == due


@pytest.mark.parametrize(("first", "due"), [(SETTLE - 1, 0), (SETTLE, 200)])
def test_the_pace_is_measured_once_the_backlog_has_arrived(first: int, due: int) -> None:
    catch = late(200)
    for at in (0, WINDOW):
        assert catch.measure(1200 + first + at, 0)
    assert catch.due == due


def test_measuring_stops_after_some_windows_without_delay() -> None:
    assert windows(late(0), CALM) == [True] * (CALM - 1) + [False]
    catch = late(200)
    windows(catch)
    catch.removed(9000, 200)
    assert windows(catch, CALM) == [True] * (CALM - 1) + [False]


def test_what_was_removed_or_skipped_is_no_delay_any_more() -> None:
    catch = late(200)
    windows(catch)
    catch.removed(8000, 50)
    assert catch.due == 150
    catch.removed(8020, 160)
    assert catch.due == 0
    catch = late(200)
    catch.skipped(60)
    windows(catch)
    assert catch.due == 140


def test_the_window_doubles_while_underruns_follow_removals() -> None:
    catch, at = late(200), 20_000
    for window in (2 * WINDOW, LONGEST_WINDOW, LONGEST_WINDOW, WINDOW):
        catch.removed(at, 0)
        at += AGAIN - (window != WINDOW)
        catch.ran_dry(at, 0)
        assert catch.goes_on(at)
        catch.started(at)
        for after in (SETTLE, SETTLE + window - 1):
            catch.measure(at + after, 0)
            assert catch.due == 0
        catch.measure(at + SETTLE + window, 0)
        assert catch.due == 200
        at += 20_000


@pytest.mark.parametrize(
    ("held", "longest"),
    [(None, LAPSE), ((1000, 300), LAPSE + 300), ((3000, 300), LAPSE + 300), ((900, 300), LAPSE + 200)],
)
def test_audio_after_a_long_silence_is_a_new_utterance(held: tuple[int, int] | None, longest: int) -> None:
    for silence, goes_on in ((longest, True), (longest + 1, False)):
        catch = CatchUp()
        catch.ran_dry(1000, 0)
        if held is not None:
            catch.held_up(*held, 0)
        assert catch.goes_on(1000 + silence) == goes_on
        catch.started(1000 + silence)
        assert catch.missed(1000 + silence, 0) == 0
        assert catch.goes_on(1_000_000), "the audio behind it belongs to it"


@pytest.mark.parametrize(
    ("at", "excused"),
    [(999, False), (1000, True), (1200, True), (1200 + ECHO, True), (1200 + ECHO + 1, False)],
)
def test_an_underrun_in_or_soon_after_a_delay_of_our_clock_is_excused(at: int, excused: bool) -> None:
    catch = CatchUp()
    catch.held_up(1000, 200, -70)
    assert not catch.excused
    catch.ran_dry(at, 30)
    assert catch.excused == excused
    # 200 ms were missed of 250 ms of silence; the pace to compare with is that before the delay.
    assert catch.missed(at + 250, -70 if excused else 30) == (200 if excused else 0)
    assert catch.missed(at + 250, 60) == (250 - 130 if excused else 0)


@pytest.mark.parametrize(("after", "missed"), [(2 * ECHO, 200), (2 * ECHO + 1, 0)])
def test_missed_audio_is_skipped_only_if_it_comes_soon(after: int, missed: int) -> None:
    catch = CatchUp()
    catch.held_up(1000, 200, 0)
    catch.ran_dry(1000, 0)
    assert catch.missed(1200 + after, 0) == missed
    assert catch.excused == bool(missed)


def test_delays_of_our_clock_add_up_until_the_audio_comes() -> None:
    catch = CatchUp()
    catch.held_up(1000, 200, 0)
    catch.ran_dry(1100, 0)
    catch.held_up(1300, 100, 0)
    assert catch.missed(1350, 0) == 250
    assert catch.missed(1500, 0) == 300
    catch.skipped(300)
    assert not catch.excused


# ── dropped audio ───────────────────────────────────────────────────────────────────────────────────────────


def tone(milliseconds: int, codec: str = "PCMU", hertz: float = 330, amplitude: float = 8000) -> bytes:
    row = CODECS[codec]
    samples = np.arange(milliseconds * row.sample_rate // 1000)
    wave = np.sin(2 * np.pi * hertz * samples / row.sample_rate) * amplitude
    return row.encoder()(wave.astype("<i2").tobytes())


def late_app(codec: str, audio: bytes, late: int, leg: str = "PCMU") -> tuple[list[bytes | None], Playback]:
    """An app that sends in real time, but pauses once after two seconds."""
    queue = Playback(codec, prebuffer=60, limit=600, mark_limit=10)
    queue.leg_changed(leg, FRAME)
    size = CODECS[codec].bytes_per_ms * FRAME
    frames = [audio[at : at + size] for at in range(0, len(audio), size)]
    heard, sent = [], 0
    for at in range(0, len(frames) * FRAME, FRAME):
        while sent < len(frames) and sent * FRAME <= at and not 2000 <= at < 2000 + late:
            queue.put(frames[sent])
            sent += 1
        heard.append(queue.next_frame(at))
    return heard, queue


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "L16/16000", "L16/48000"])
def test_loud_audio_is_compressed_by_5_percent_at_most(codec: str) -> None:
    heard, queue = late_app(codec, tone(12_000, codec), 200)
    gap = heard.index(None, 50)
    begun = next(number for number in range(gap, len(heard)) if heard[number] is not None)
    inserted = (begun - gap) * FRAME
    assert inserted - 30 <= queue.discarded_ms <= inserted
    played = np.frombuffer(transcoder("PCMU", "L16/8000").convert(b"".join(filter(None, heard[begun:]))), "<i2")
    # Joined where the wave repeats itself: the level is constant, and no step is steeper.
    assert np.abs(np.diff(played.astype(int))).max() < 8000 * 2 * np.pi * 330 / 8000 * 1.15 + 300
    levels = [np.sqrt(np.mean(block.astype(float) ** 2)) for block in np.array_split(played, len(played) // 160)]
    assert min(levels[1:]) > 0.75 * max(levels)


def test_compressed_frames_are_spaced_apart() -> None:
    queue = Playback("PCMU", prebuffer=60, limit=600, mark_limit=10)
    frames, sent, left_out = [tone(20)] * 600, 0, []
    for number in range(600):
        while sent <= number and not 100 <= number < 110:
            queue.put(frames[sent])
            sent += 1
        before = queue.discarded_ms
        queue.next_frame(number * FRAME)
        if queue.discarded_ms > before:
            left_out.append((number, queue.discarded_ms - before))
    assert len(left_out) > 5
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(left_out)) == SPACING
    assert all(length <= FRAME for _, length in left_out)


@pytest.mark.parametrize("codec", ["PCMU", "G722", "L16/16000", "L16/48000"])
@pytest.mark.parametrize("leg", ["PCMU", "G722", "OPUS"])
def test_pauses_are_shortened_and_speech_is_not(codec: str, leg: str) -> None:
    row = CODECS[codec]
    encode = row.encoder()
    samples = row.sample_rate // 50
    word = (np.sin(2 * np.pi * 500 * np.arange(10 * samples) / row.sample_rate) * 8000).astype("<i2")
    rng = np.random.default_rng(5)
    parts = []
    for _ in range(20):
        parts += [word, rng.integers(-20, 21, 15 * samples).astype("<i2")]
    heard, queue = late_app(codec, encode(np.concatenate(parts).tobytes()), 300, leg)
    assert queue.discarded_ms >= 200
    decode, silent = CODECS[leg].decoder(), CODECS[leg].silence(FRAME)
    pcm = np.frombuffer(b"".join(decode(frame or silent) for frame in heard), "<i2").astype(float)
    rate = CODECS[leg].sample_rate // 100
    loud = [np.sqrt(np.mean(pcm[at : at + rate] ** 2)) > 1500 for at in range(0, len(pcm) - rate, rate)]
    # Utterances of 200 ms are complete; the one with the gap may be in two parts.
    starts = [n for n in range(1, len(loud)) if loud[n] and not loud[n - 1]]
    lengths = [next((n for n in range(start, len(loud)) if not loud[n]), len(loud)) - start for start in starts]
    assert sum(19 <= length <= 22 for length in lengths) >= len(lengths) - 3
    assert np.abs(pcm).max() < 8000 * 1.25  # no click where frames were dropped


@pytest.mark.parametrize("leg", ["PCMU", "L16/16000"])
def test_skipped_audio_of_a_stateful_codec_makes_no_click(leg: str) -> None:
    speech = np.concatenate(
        [np.sin(2 * np.pi * hertz * np.arange(4800) / 16000) * 6000 for hertz in (200, 900, 400, 2500, 300, 1500) * 4]
    )
    queue = Playback("G722", prebuffer=0, limit=600, mark_limit=10)
    queue.leg_changed(leg, FRAME)
    queue.put(CODECS["G722"].encoder()(speech.astype("<i2").tobytes()))
    decode, heard, at = CODECS[leg].decoder(), [], 0
    while queue.queued_ms:
        if at in (620, 2200, 4100):
            queue.held_up(at, 360, 40)
            at += 360
        heard.append(decode(queue.next_frame(at) or b""))
        at += FRAME
    assert queue.discarded_ms == 1080
    assert np.abs(np.frombuffer(b"".join(heard), "<i2").astype(int)).max() < 6000 * 1.4


def test_a_compressed_frame_is_a_packet_and_keeps_its_pitch() -> None:
    wave = (np.sin(2 * np.pi * 200 * np.arange(320) / 8000) * 10_000).astype(np.int16)
    made, shift = squeeze(wave, 160, 160)
    assert (len(made), shift % 40) == (160, 0)  # whole periods
    assert np.abs(made.astype(int) - wave[:160]).max() < 50
    assert squeeze(wave, 160, 100)[1] <= 100
    noise = np.random.default_rng(1).integers(-9000, 9000, 320).astype(np.int16)
    made, shift = squeeze(noise, 160, 160)
    assert 80 <= shift <= 160
    assert (made[0], made[-1]) == (noise[0], noise[shift + 159])
    assert len(squeeze(np.zeros(320, np.int16), 160, 160)[0]) == 160


def test_the_level_of_silence_is_the_documented_one() -> None:
    assert FAINT == -50
