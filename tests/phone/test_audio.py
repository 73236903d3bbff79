"""A phone's audio: what is played becomes packets, what is heard becomes PCM with its levels and times."""

import numpy as np
import pytest

from trunkline.media.codecs import CODECS
from trunkline.phone import audio
from trunkline.phone.audio import AUDIBLE, FRAMES_WAITING, PhoneAudio


def tone(milliseconds: int, rate: int = 16000) -> bytes:
    at = np.arange(rate * milliseconds // 1000)
    return (8000 * np.sin(2 * np.pi * 440 * at / rate)).astype("<i2").tobytes()


def level_of(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.frombuffer(pcm, "<i2").astype(float) ** 2)))


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722", "OPUS"])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_played_audio_comes_out_of_the_other_end_in_every_codec(codec: str, rate: int) -> None:
    one, other = PhoneAudio(rate), PhoneAudio(rate)
    one.leg_changed(codec, 20)
    other.leg_changed(codec, 20)
    one.play(tone(400, rate))
    for number in range(20):
        payload = one.next_frame(number * 20)
        assert payload
        other.inbound_frame(payload, number * 20, 0)
    assert one.next_frame(400) is None
    heard = other.recording()
    assert len(heard) == 400 * rate // 500
    assert level_of(heard[len(heard) // 4 :]) == pytest.approx(8000 / 2**0.5, rel=0.1)


def test_the_last_packet_is_filled_up_with_silence() -> None:
    phone = PhoneAudio(8000)
    phone.play(tone(30, 8000))
    first, last = phone.next_frame(0), phone.next_frame(20)
    assert first is not None
    assert last is not None
    assert (len(first), last[80:]) == (160, CODECS["PCMU"].silence(10))
    assert phone.queued_ms == 0


def test_live_audio_beyond_the_limit_loses_its_oldest() -> None:
    phone = PhoneAudio(8000)
    for number in range(10):
        phone.play(bytes([0, number]) * 160, newest_ms=60)
    assert phone.queued_ms == 60
    phone.stop_playing()
    assert (phone.queued_ms, phone.next_frame(0)) == (0, None)


def test_what_was_lost_is_silence_in_the_recording() -> None:
    phone = PhoneAudio(8000)
    payload = b"\x10" * 160
    for at in (100, 120, 200, 220):
        phone.inbound_frame(payload, at, 3 if at == 200 else 0)
    pcm = phone.recording()
    assert len(pcm) == 240 * 16
    loud = [any(pcm[start : start + 320]) for start in range(0, len(pcm), 320)]
    assert loud == [False] * 5 + [True, True] + [False] * 3 + [True, True]


def test_times_and_levels_of_what_was_heard_and_said_are_kept() -> None:
    phone = PhoneAudio(16000)
    phone.now = 7.5
    phone.inbound_frame(CODECS["PCMU"].silence(20), 0, 0)
    phone.now = 7.52
    phone.inbound_frame(b"\x10" * 160, 20, 0)
    assert [(one.at, one.milliseconds, one.decibels > -60) for one in phone.heard] == [
        (7.5, 20, False),
        (7.52, 20, True),
    ]
    assert phone.loudest > -20
    phone.play(tone(20))
    phone.next_frame(0)
    assert [(one.at, one.milliseconds) for one in phone.said] == [(7.52, 20)]


def test_frames_that_wait_too_long_are_dropped_and_counted() -> None:
    phone = PhoneAudio(8000, keep=False)
    for number in range(FRAMES_WAITING + 5):
        phone.inbound_frame(b"\x10" * 160, number * 20, 0)
    assert (len(phone.waiting), phone.dropped, phone.waiting[0].media_ms) == (FRAMES_WAITING, 5, 100)
    assert phone.recording() == b""


def test_what_comes_after_the_kept_time_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "KEPT_MS", 100)
    phone = PhoneAudio(8000)
    for number in range(10):
        phone.inbound_frame(b"\x10" * 160, number * 20, 0)
        phone.play(tone(20, 8000))
        phone.next_frame(number * 20)
    assert (len(phone.recording()), len(phone.heard), len(phone.said)) == (1600, 5, 5)


def test_a_packet_that_cannot_be_decoded_is_silence_and_counted() -> None:
    phone = PhoneAudio(16000)
    phone.leg_changed("OPUS", 20)
    phone.inbound_frame(b"\x00\xff\xff\xff", 0, 0)
    phone.inbound_frame(b"", 20, 0)
    assert phone.undecodable >= 1
    assert len(phone.recording()) >= 20 * 32


def test_keys_of_the_other_side_wait_for_the_owner() -> None:
    phone = PhoneAudio(8000)
    phone.digit("5")
    assert phone.digits == ["5"]


def steady(sample: int) -> bytes:
    """20 ms at 8000 Hz of one value."""
    return np.full(160, sample, "<i2").tobytes()


def test_audio_at_the_threshold_is_audible_in_both_directions() -> None:
    for sample, decibels in ((104, AUDIBLE), (92, AUDIBLE - 1)):
        phone = PhoneAudio(8000)
        phone.leg_changed("L16/8000", 20)
        phone.now = 3.0
        phone.play(steady(sample))
        payload = phone.next_frame(0)
        assert payload is not None
        phone.inbound_frame(payload, 0, 0)
        audible = decibels == AUDIBLE
        assert (phone.said[0].decibels, phone.heard[0].decibels) == (decibels, decibels)
        assert (phone.spoke_at, phone.audible_at) == ((3.0, 3.0) if audible else (None, None))
        assert phone.audible_ms == (20 if audible else 0)


def test_the_packet_time_is_that_of_the_leg_and_odd_bytes_are_left_out() -> None:
    phone = PhoneAudio(8000)
    phone.leg_changed("PCMU", 30)
    phone.play(tone(60, 8000) + b"x")
    assert phone.queued_ms == 60
    assert [len(phone.next_frame(at) or b"") for at in (0, 30, 60)] == [240, 240, 0]
    assert [one.milliseconds for one in phone.said] == [30, 30]
    phone.play(b"\1\1" * 100 + b"\2\2" * 80, newest_ms=10)
    assert phone.queued_ms == 10
    phone.peer_changed("PCMA")
    phone.inbound_frame(CODECS["PCMA"].silence(20), 0, 0)
    assert phone.loudest < AUDIBLE


def test_frames_closer_than_a_packet_are_joined_in_the_recording() -> None:
    for gap, milliseconds in ((20, 40), (21, 41)):
        phone = PhoneAudio(8000)
        phone.inbound_frame(b"\x10" * 160, 0, 0)
        phone.inbound_frame(b"\x10" * 160, 20 + gap, 0)
        assert len(phone.recording()) == 16 * (milliseconds + 20 if gap > 20 else milliseconds)


def test_nothing_heard_is_silent() -> None:
    phone = PhoneAudio(8000)
    assert (phone.loudest, phone.audible_at, phone.spoke_at, phone.undecodable) == (-96, None, None, 0)
    phone.leg_changed("OPUS", 20)
    phone.inbound_frame(b"", 0, 0)
    assert (phone.undecodable, phone.heard[0].milliseconds, len(phone.recording())) == (1, 20, 320)
