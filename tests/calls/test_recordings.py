"""Recordings: sids to files and URLs, and back."""

from pathlib import Path

import pytest

from trunkline.calls.recordings import RecordingFiles
from trunkline.ids import AccountSid

MINE, OTHER = AccountSid("61bf923e-5e4d-4595-a110-56190ea18a1b"), AccountSid("00000000-5e4d-4595-a110-56190ea18a1b")
SID = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
RECORDINGS = RecordingFiles(Path("/var/recordings"), lambda: "https://voice.example/a")


def test_each_account_has_files_and_urls_of_its_own() -> None:
    assert RECORDINGS.path(MINE, SID) == Path(f"/var/recordings/{MINE}.{SID}.wav")
    assert RECORDINGS.url(MINE, SID) == f"https://voice.example/a/v2/texml/Accounts/{MINE}/Recordings/{SID}.wav"
    assert RECORDINGS.path_of(MINE, RECORDINGS.url(MINE, SID)) == RECORDINGS.path(MINE, SID)


@pytest.mark.parametrize("sid", ["", "..", f"../{SID}", SID + "\n", SID.upper(), f"{SID}.wav", "*", SID[:-1]])
def test_what_is_no_sid_has_no_file(sid: str) -> None:
    assert RECORDINGS.path(MINE, sid) is None
    assert RECORDINGS.path_of(MINE, RECORDINGS.url(MINE, sid)) is None


@pytest.mark.parametrize(
    "url",
    [
        f"http://voice.example/a/v2/texml/Accounts/{MINE}/Recordings/{SID}.wav",
        RECORDINGS.url(OTHER, SID),
        RECORDINGS.url(MINE, SID).removesuffix(".wav"),
        SID,
    ],
)
def test_other_urls_are_no_recordings(url: str) -> None:
    assert RECORDINGS.path_of(MINE, url) is None
