"""Measures of what happened on a socket."""

from typing import Any

import numpy as np
import pytest

from trunkline.apps.speech import babble
from trunkline.apps.trace import Played, Received, Trace, cut, is_audible
from trunkline.apps.wire import frames
from trunkline.media.codecs import CODECS
from trunkline.streaming.messages import Media, MediaBody

WORDS = frames(babble(400), "PCMU")


def heard(*payloads: bytes, every: float = 0.02, **fields: Any) -> Trace:
    """A bot that sent these."""
    trace = Trace("PCMU", "PCMU", **fields)
    for number, payload in enumerate(payloads):
        trace.received.append(Received(number * every, Media(MediaBody(payload)), 0))
    return trace


def test_gaps_and_the_first_audio_are_those_of_media() -> None:
    trace = heard(b"a", b"b", b"c")
    assert trace.first_audio == 0
    assert trace.gaps() == pytest.approx([20, 20])
    assert trace.audio() == b"abc"
    assert Trace("PCMU", "PCMU").first_audio is None


def test_only_audible_audio_that_is_queued_is_unheard() -> None:
    assert heard(b"".join(WORDS), queued_ms=200).unheard() > 100
    assert heard(b"".join(WORDS) + b"\xff" * 1600, queued_ms=200).unheard() == 0
    assert heard(b"".join(WORDS)).unheard() == 0


def test_audible_counts_the_packets_of_a_time() -> None:
    trace = Trace("PCMU", "PCMU", played=[Played(at, b"", at >= 40) for at in range(0, 100, 20)])
    assert trace.audible(0, 100) == 60
    assert trace.audible(0, 60) == 20


def test_an_echo_is_known_in_any_cut_and_with_one_zero_of_two() -> None:
    trace = heard(b"\xff" * 7 + b"".join(WORDS).replace(b"\x7f", b"\xff"))
    trace.words = WORDS
    assert trace.echoes()
    assert not heard(b"".join(frames(babble(900), "PCMU")[30:])).echoes()


def test_silence_is_not_audible() -> None:
    assert is_audible(WORDS[len(WORDS) // 3], "PCMU") or is_audible(WORDS[len(WORDS) // 2], "PCMU")
    assert not is_audible(b"\xff" * 160, "PCMU")
    assert not is_audible(b"\0\0", "OPUS")


def test_cut_keeps_the_rest() -> None:
    assert list(cut(b"abcde", 2)) == [b"ab", b"cd", b"e"]


@pytest.mark.parametrize(
    ("codec", "mode", "size", "milliseconds"),
    [("PCMU", "rtp", 160, 20.0), ("L16/16000", "rtp", 64, 2.0), ("PCMU", "mp3", 160, 0.0), ("OPUS", "rtp", 160, 0.0)],
)
def test_bytes_have_a_length_where_their_codec_gives_them_one(
    codec: str, mode: str, size: int, milliseconds: float
) -> None:
    assert Trace("PCMU", codec, mode).milliseconds(size) == milliseconds


def test_what_has_no_length_is_not_known_to_be_unheard() -> None:
    for codec, mode in (("PCMU", "mp3"), ("OPUS", "rtp")):
        trace = heard(b"".join(WORDS), queued_ms=200)
        trace.bot_codec, trace.mode = codec, mode
        assert trace.unheard() == 0
    loud = WORDS[0]
    assert heard(loud * 10, queued_ms=60).unheard() == 60


def test_an_echo_in_another_codec_or_of_silence_is_none() -> None:
    trace = heard(b"".join(WORDS), words=WORDS)
    assert trace.echoes()
    trace.bot_codec = "PCMA"
    assert not trace.echoes()
    assert not heard(b"".join(WORDS)).echoes()
    assert heard(b"\x7f" * 160, words=[b"\xff" * 160]).echoes()


def test_audible_is_louder_than_50_db_below_full_scale() -> None:
    quiet, loud = (CODECS["L16/8000"].encoder()(bytes(np.full(160, one, "<i2"))) for one in (108, 110))
    assert not is_audible(quiet, "L16/8000")
    assert is_audible(loud, "L16/8000")
