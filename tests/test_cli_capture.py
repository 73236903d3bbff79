"""`trunkline replay` and `trunkline export`, as processes."""

import json
import wave
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from apps import bots
from apps.test_captured import said, start, text_of, to_app
from apps.test_replay import WORDS
from test_cli_check import trunkline
from trunkline.apps.wire import media

pytestmark = pytest.mark.process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A capture in two parts."""
    path = tmp_path / "20260101T000000-a.capture.jsonl"
    lines = [to_app(number, frame) for number, frame in enumerate(WORDS)]
    path.write_text(text_of(start(), *lines[:10]))
    (tmp_path / "20260101T000000-a.002.capture.jsonl").write_text(text_of(*lines[10:], said(590, media(bytes(160)))))
    return path


async def test_a_baseline_is_kept_and_compared(file: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    async with serve(bots.from_readme(), "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        code, out, err = await trunkline("replay", str(file), url, "--save-baseline", str(baseline))
        assert (code, err) == (0, ""), out
        kept = json.loads(baseline.read_text())
        kept["measures"]["clears"] = 3
        baseline.write_text(json.dumps(kept))
        code, out, _ = await trunkline("replay", str(file), url, "--baseline", str(baseline), "--json")
    assert code == 1
    assert json.loads(out)["mistakes"] == ["regression"]


async def test_a_capture_becomes_a_stereo_file(file: Path, tmp_path: Path) -> None:
    code, out, _ = await trunkline("export", str(file), str(tmp_path / "out.wav"))
    assert code == 0
    assert "at 8000 Hz" in out
    with wave.open(str(tmp_path / "out.wav")) as made:
        assert (made.getnchannels(), made.getframerate()) == (2, 8000)
        assert made.getnframes() / 8000 == pytest.approx(0.62, abs=0.1)


async def test_what_is_no_capture_is_one_line_and_exit_code_4(tmp_path: Path) -> None:
    (tmp_path / "no.jsonl").write_text("{}\n")
    for arguments in (("export", str(tmp_path / "no.jsonl"), "a.wav"), ("replay", str(tmp_path / "none"), "ws://a/")):
        code, out, err = await trunkline(*arguments)
        assert (code, out) == (4, "")
        assert err.count("\n") == 1
