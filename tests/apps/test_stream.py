"""What a stream to a bot is asked to be."""

from functools import partial

import pytest

from mp3files import mp3
from trunkline.apps.stream import BotStream, BotUnreachable, InlineDecoder
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, Track


def test_the_codec_of_the_bot_is_taken_apart_as_the_api_has_it() -> None:
    params = BotStream("ws://a/", bot_codec="L16/16000", custom_parameters=(("a", "b"),)).params()
    assert params.bidirectional_encoding == "L16/16000"
    assert params.custom_parameters == {"a": "b"}
    assert BotStream("ws://a/").params().bidirectional_encoding == "PCMU"


def test_what_is_no_url_of_a_websocket_is_refused() -> None:
    with pytest.raises(BotUnreachable, match=r"^http://a/ is no ws:// or wss:// URL: it has another scheme$"):
        BotStream("http://u:p@a/?q").params()


def test_a_file_is_decoded_and_answered_later() -> None:
    answers: list[tuple[Answer, bytes | Refusal]] = []
    decoder = InlineDecoder(lambda answer, result: answers.append((answer, result)))
    for data in (b"no mp3", b""):
        decoder.decode(data, "PCMU", 100, lambda _: None)
    assert [type(result) for _, result in answers] == [Refusal, Refusal]


def test_a_file_is_answered_with_its_audio_or_that_it_is_too_long() -> None:
    answers: list[bytes | Refusal] = []
    decoder = InlineDecoder(lambda _, result: answers.append(result))
    for room in (20_000, 100):
        decoder.decode(mp3(seconds=0.5), "PCMU", room, lambda _: None)
    decoder.decode(b"no mp3", "PCMU", 100, lambda _: None)
    audio, too_long, no_audio = answers
    assert isinstance(audio, bytes)
    assert len(audio) == pytest.approx(4000, abs=1200)
    assert too_long == Refusal(Problem.RATE_LIMIT, "the file is too long")
    assert no_audio == Refusal(Problem.INVALID_MEDIA, "media.payload is an mp3 file without audio")


def test_the_names_of_a_call_that_there_is_not_are_those_of_the_documentation() -> None:
    asked = BotStream("wss://a/", auth_token="t", track=Track.BOTH)
    assert asked.identity() == StreamIdentity(
        StreamSid("00000000-0000-4000-8000-00000000c4ec"),
        AccountSid("00000000-0000-4000-8000-000000000000"),
        CallSid("v3:trunkline-check"),
        CallSessionId("00000000-0000-4000-8000-0000000000aa"),
        "+13125550100",
        "+13125550199",
    )
    params = asked.params()
    assert (params.auth_token, params.track, params.mode) == ("t", Track.BOTH, BidirectionalMode.RTP)
    assert (params.bidirectional_codec, params.bidirectional_sampling_rate) == ("PCMU", 8000)


def test_a_file_that_was_cancelled_is_not_answered_and_others_are_once() -> None:
    later: list[tuple[Answer, bytes | Refusal]] = []
    answered: list[int] = []

    def note(number: int, _: bytes | Refusal) -> None:
        answered.append(number)

    decoder = InlineDecoder(lambda answer, result: later.append((answer, result)))
    jobs = [decoder.decode(b"no mp3", "PCMU", 100, partial(note, number)) for number in range(3)]
    assert len(set(jobs)) == 3
    assert isinstance(jobs[1], int)
    decoder.cancel(jobs[1])
    for answer, result in [*later, *later]:
        answer(result)
    assert answered == [0, 2]
