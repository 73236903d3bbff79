"""What a stream to a bot is asked to be."""

import pytest

from trunkline.apps.stream import BotStream, BotUnreachable, InlineDecoder
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Refusal


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
