"""The queue of files. The decoder is real, but decodes when the test says so."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mp3files import mp3
from trunkline.media.audio.decoding import decode
from trunkline.streaming.budget import UNBOUNDED, Budget
from trunkline.streaming.files import Answer, Files, QueuedFile
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.playback import BLOCK_COST, Playback

LINE_LIMIT = 16

SHORT = mp3(seconds=0.1)
LONG = mp3(seconds=1)
BROKEN = Refusal(Problem.INVALID_MEDIA, "broken")


@dataclass
class Decoder:
    """Answers when the test says so, in any order."""

    jobs: dict[int, Callable[[], None]] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    refuses: Refusal | None = None
    codecs: list[str] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        if self.refuses is not None:
            return self.refuses
        self.codecs.append(codec)
        self.rooms.append(room)
        number = len(self.codecs)

        def run(result: Refusal | None = None) -> None:
            if result is None:
                work = decode(data, codec, 10_000_000)
                while True:
                    try:
                        next(work)
                    except StopIteration as done:
                        answer(done.value)
                        return
            answer(result)

        self.jobs[number] = run
        return number

    def cancel(self, job: int) -> None:
        self.cancelled.append(job)
        del self.jobs[job]

    def finish(self, job: int, *result: Refusal) -> None:
        self.jobs.pop(job)(*result)


class Stream:
    """A playback fed by files."""

    def __init__(
        self, interval: float = 0, mark_limit: int = 100, limit: float = 600, budget: Budget = UNBOUNDED
    ) -> None:
        self.decoder = Decoder()
        self.playback = Playback("PCMU", prebuffer=0, limit=limit, mark_limit=mark_limit, budget=budget)
        self.refusals: list[Refusal | None] = []
        self.files = Files(
            self.playback, self.decoder, self._answer, interval=interval, mark_limit=mark_limit, budget=budget
        )
        self.at = 0

    def _answer(self, file: QueuedFile, answer: bytes | Refusal) -> None:
        self.refusals.append(self.files.finish(file, answer))

    def play(self, ticks: int) -> list[bytes]:
        """The marks that are due after so many packets."""
        for _ in range(ticks):
            self.playback.next_frame(self.at)
            self.at += 20
        due, self.playback.returned = self.playback.returned, []
        return due


def test_a_file_is_queued_when_it_has_been_decoded_and_marks_wait_for_it() -> None:
    stream = Stream()
    assert stream.files.add(LONG, 0) is None
    assert stream.files.mark(b"1")
    assert stream.play(10) == []
    assert stream.playback.queued_ms == 0
    stream.decoder.finish(1)
    assert stream.playback.queued_ms == 1000
    assert stream.play(50) == []
    assert stream.play(1) == [b"1"]


def test_files_play_in_the_order_sent_whichever_is_decoded_first() -> None:
    stream = Stream()
    stream.files.add(LONG, 0)
    stream.files.mark(b"1")
    stream.files.add(SHORT, 0)
    stream.files.mark(b"2")
    stream.decoder.finish(2)
    assert stream.play(100) == []
    stream.decoder.finish(1)
    assert stream.playback.queued_ms == 1100
    assert stream.play(50) == []
    assert stream.play(1) == [b"1"]
    assert stream.play(5) == [b"2"]


def test_clear_drops_files_that_are_played_that_wait_and_that_are_being_decoded() -> None:
    stream = Stream()
    for number in range(3):
        stream.files.add(SHORT, 0)
        stream.files.mark(b"%d" % number)
    stream.decoder.finish(1)
    stream.decoder.finish(3)
    stream.play(2)
    stream.files.clear()
    assert stream.decoder.cancelled == [2]
    assert stream.playback.returned == [b"0", b"1", b"2"]
    assert (stream.playback.played_ms, stream.playback.cleared_ms, stream.playback.queued_ms) == (40, 160, 0)
    stream.playback.returned = []
    stream.files.add(SHORT, 0)
    stream.files.mark(b"next")
    stream.decoder.finish(4)
    assert stream.play(6) == [b"next"]


def test_an_undecodable_file_is_refused_and_its_marks_return_in_order() -> None:
    stream = Stream()
    stream.files.add(SHORT, 0)
    stream.files.mark(b"1")
    stream.files.add(LONG, 0)
    stream.files.mark(b"2")
    stream.decoder.finish(2, BROKEN)
    assert stream.refusals == [BROKEN]
    assert stream.play(1) == []
    stream.decoder.finish(1)
    assert stream.play(5) == []
    assert stream.play(1) == [b"1", b"2"]


def test_at_most_one_message_a_second_is_accepted_with_some_tolerance() -> None:
    stream = Stream(interval=1)
    times = (0, 0.1, 0.9, 1.8, 2.5, 2.8, 10, 10.5, 10.99)
    refused = [stream.files.add(SHORT, now) for now in times]
    assert [refusal is None for refusal in refused] == [True, False, True, True, False, True, True, False, True]
    assert {refusal.problem for refusal in refused if refusal} == {Problem.RATE_LIMIT}
    assert "1 s" in str(refused[1])


def test_raw_audio_in_mp3_mode_is_refused_and_does_not_count_as_a_file() -> None:
    stream = Stream(interval=1)
    for number in range(50):
        refusal = stream.files.add(b"\xff" * 160, number / 50)
        assert refusal
        assert refusal.problem is Problem.INVALID_MEDIA
        assert "mp3 mode" in refusal.detail
        assert "BidirectionalMode=rtp" in refusal.detail
    assert stream.files.add(SHORT, 1) is None


def test_a_file_refused_by_the_decoder_may_be_sent_again_at_once() -> None:
    stream = Stream(interval=1)
    stream.decoder.refuses = BROKEN
    assert stream.files.add(SHORT, 0) is BROKEN
    stream.decoder.refuses = None
    assert stream.files.add(SHORT, 0) is None


def test_the_queue_of_files_is_bounded() -> None:
    stream = Stream()
    for _ in range(LINE_LIMIT):
        assert stream.files.add(SHORT, 0) is None
    refusal = stream.files.add(SHORT, 0)
    assert refusal
    assert refusal.problem is Problem.RATE_LIMIT


def test_audio_over_the_bound_is_refused_while_two_files_are_decoded() -> None:
    stream = Stream(limit=1.5)
    stream.files.add(LONG, 0)
    stream.files.add(LONG, 0)
    assert stream.decoder.rooms == [12_000, 12_000]
    stream.decoder.finish(2)
    stream.decoder.finish(1)
    assert stream.refusals == [
        None, Refusal(Problem.RATE_LIMIT, "too much audio would be queued; this file is dropped"),
    ]  # fmt: skip
    assert (stream.playback.queued_ms, stream.playback.overruns) == (1000, 1)


def test_marks_of_waiting_files_and_of_queued_audio_are_bounded_together() -> None:
    stream = Stream(mark_limit=2)
    stream.files.add(SHORT, 0)
    stream.files.mark(b"1")
    stream.decoder.finish(1)
    stream.files.add(SHORT, 0)
    assert [stream.files.mark(b"2"), stream.files.mark(b"3")] == [True, False]


def test_files_are_decoded_to_the_current_codec_of_the_leg() -> None:
    stream = Stream()
    stream.playback.leg_changed("G722", 20)
    stream.files.add(LONG, 0)
    stream.playback.leg_changed("PCMA", 20)
    stream.files.add(SHORT, 0)
    stream.decoder.finish(1)
    stream.decoder.finish(2)
    assert stream.playback.queued_ms == 1100
    stream.play(60)
    stream.files.add(SHORT, 0)
    assert stream.decoder.codecs == ["G722", "G722", "PCMA"]


def test_after_close_nothing_is_decoded_and_no_refusal_is_returned() -> None:
    stream = Stream()
    stream.files.add(SHORT, 0)
    run = stream.decoder.jobs[1]
    stream.files.close()
    assert stream.decoder.cancelled == [1]
    run()
    assert stream.refusals == []


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_mark_is_returned_once_and_in_order(data: st.DataObject) -> None:
    stream, sent, due = Stream(), 0, list[bytes]()
    for _ in range(data.draw(st.integers(0, 25))):
        match data.draw(st.sampled_from(["file", "mark", "answer", "fail", "tick", "clear"])):
            case "file":
                stream.files.add(SHORT, 0)
            case "mark":
                stream.files.mark(b"%d" % sent)
                sent += 1
            case "answer" | "fail" as how if stream.decoder.jobs:
                job = data.draw(st.sampled_from(sorted(stream.decoder.jobs)))
                stream.decoder.finish(job, *([BROKEN] if how == "fail" else []))
            case "tick":
                due += stream.play(3)
            case "clear":
                stream.files.clear()
                due += stream.play(0)
                assert len(due) == sent
    for job in list(stream.decoder.jobs):
        stream.decoder.finish(job)
    due += stream.play(200)
    assert due == [b"%d" % number for number in range(sent)]


def test_a_file_and_then_its_audio_take_memory_until_they_are_played() -> None:
    budget = Budget(BLOCK_COST)
    others = BLOCK_COST - len(LONG)
    assert budget.take(others)
    stream = Stream(budget=budget)
    assert stream.files.add(LONG, 0) is None
    assert budget.held == BLOCK_COST
    refusal = stream.files.add(LONG, 0)
    assert refusal is not None
    assert "account_memory" in refusal.detail
    budget.give(others)
    stream.decoder.finish(1)
    assert (budget.held, stream.playback.queued_ms) == (BLOCK_COST, 1000)
    budget.limit += len(SHORT)
    assert stream.files.add(SHORT, 0) is None
    assert budget.held == BLOCK_COST + len(SHORT)
    stream.files.clear()
    assert budget.held == BLOCK_COST, "the block that is kept"
    stream.playback.release()
    assert budget.held == 0


def test_too_many_marks_are_refused_as_such_also_after_a_lack_of_memory() -> None:
    stream = Stream(mark_limit=1, budget=Budget(BLOCK_COST))
    assert stream.files.add(SHORT, 0) is None
    assert stream.files.mark(b"1")
    assert not stream.playback.put(bytes(100_000))
    assert stream.playback.short
    assert not stream.files.mark(b"2")
    assert not stream.playback.short


def test_a_file_whose_audio_finds_no_memory_is_refused_and_its_mark_returns() -> None:
    budget = Budget(len(LONG) + 200)
    stream = Stream(budget=budget)
    assert stream.files.add(LONG, 0) is None
    assert stream.files.mark(b"1")
    stream.decoder.finish(1)
    (refusal,) = stream.refusals
    assert refusal is not None
    assert "account_memory" in refusal.detail
    assert stream.playback.take_returned() == [b"1"]
