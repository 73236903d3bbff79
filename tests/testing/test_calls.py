"""What a test sees of a call: numbers, sounds, and reasons where there is no number."""

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trunkline.phone.measures import not_placed
from trunkline.phone.sounds import NoSound, load, save
from trunkline.testing.calls import FinishedCall, NotMeasured, pcm_of

RESULT = replace(
    not_placed("sip:+1@127.0.0.1", ""), first_audio_ms=120.0, cleared_ms=(200.0, 250.0), audible_ms=900, digits="12"
)
SOUND = b"\x00\x10\x00\xf0" * 8000


def test_a_call_that_went_well_has_numbers() -> None:
    call = FinishedCall(replace(RESULT, ended_by="them", duration_ms=3000.0), SOUND, ())
    assert (call.first_audio_ms, call.cleared_within_ms, call.heard_ms) == (120, 250, 900)
    assert (call.digits, call.ended_by_bot, call.duration_ms, call.spoke) == ("12", True, 3000, True)
    assert call.heard()
    assert not call.heard(at_least_ms=1000)


def test_what_has_not_happened_fails_the_assertion_with_its_reason() -> None:
    call = FinishedCall(replace(RESULT, first_audio_ms=None, cleared_ms=()), b"", (), ("The app is mute [mute]",))
    with pytest.raises(NotMeasured, match=r"never spoke.*The app is mute \[mute\]"):
        _ = call.first_audio_ms
    with pytest.raises(NotMeasured, match="interrupt="):
        _ = call.cleared_within_ms
    with pytest.raises(NotMeasured, match="dBFS"):
        _ = replace(call, findings=()).first_audio_ms
    assert issubclass(NotMeasured, AssertionError)


def test_a_sound_is_a_file_of_the_folders_or_pcm(tmp_path: Path) -> None:
    save(tmp_path / "one.wav", SOUND, 16000)
    assert pcm_of(SOUND, ()) == SOUND
    assert pcm_of("one.wav", (tmp_path,)) == pcm_of(tmp_path / "one.wav", ()) == SOUND
    with pytest.raises(NoSound, match=r"two\.wav"):
        pcm_of("two.wav", (tmp_path,))


def test_the_caller_of_a_capture_says_the_same_again(tmp_path: Path) -> None:
    head = {"capture": 1, "codec": "PCMU", "payloads": "whole"}
    lines: list[dict[str, object]] = [head, {"ms": 0, "to": "app", "message": {"event": "start"}}]
    for number, payload in enumerate((b"\xff", b"\x00", b"\xff")):
        media = {"track": "inbound", "timestamp": str(number * 20), "payload": b64encode(payload * 160).decode()}
        lines.append({"ms": number * 20, "to": "app", "message": {"event": "media", "media": media}})
    path = tmp_path / "one.capture.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pcm = np.frombuffer(pcm_of("one.capture.jsonl", (tmp_path,)), "<i2").astype(int)
    assert len(pcm) == 60 * 16
    assert abs(pcm[:280]).max() < 1000 < 30_000 < abs(pcm[380:600]).min()
    path.write_text("{}")
    with pytest.raises(NoSound, match=r"one\.capture\.jsonl: its first line does not say"):
        pcm_of(path, ())


def test_what_was_heard_is_compared_and_can_be_kept(tmp_path: Path) -> None:
    call = FinishedCall(RESULT, SOUND, (), folders=(tmp_path,))
    call.save(tmp_path / "heard.wav")
    assert load(tmp_path / "heard.wav", 16000) == SOUND
    assert call.heard("heard.wav")
    assert call.heard(440.0) is False
    assert repr(call).startswith("FinishedCall(first_audio_ms=120.0, cleared_ms=[200.0, 250.0], heard_ms=900, ")
