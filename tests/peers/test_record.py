"""A voice mail left by sipp, as SoX hears it."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from peers import sipp as steps
from peers.harness import RtpEndpoint, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import tone
from trunkline.demo.server import ServerProcess
from webapp import WebApp, texml

pytestmark = pytest.mark.peer


@pytest.fixture
async def web() -> AsyncIterator[WebApp]:
    async with WebApp() as web:
        yield web


@pytest.fixture
async def server(tmp_path: Path, web: WebApp) -> AsyncIterator[ServerProcess]:
    """A server all of whose calls do what the web app says at /voice."""
    applications = json.dumps([{"name": "app", "voice_url": web.url + "/voice"}])
    numbers = json.dumps([{"pattern": "*", "application": "app"}])
    async with running(new_server(tmp_path, applications=applications, numbers=numbers)) as server:
        yield server


def sox(*arguments: str) -> str:
    """What it says."""
    done = subprocess.run(["sox", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout + done.stderr


def measured(path: str, channel: int) -> dict[str, float]:
    """`sox stat` of one channel's second second."""
    lines = sox(path, "-n", "remix", str(channel), "trim", "1", "1", "stat").splitlines()
    pairs = (line.rsplit(":", 1) for line in lines if ":" in line)
    return {" ".join(name.split()): float(value) for name, value in pairs}


async def test_a_voice_mail_holds_both_sides_as_sox_reads_it(
    server: ServerProcess, sipp: Callable[..., SippRun], web: WebApp
) -> None:
    if shutil.which("sox") is None:
        pytest.skip("sox is not installed; `make test` installs it")
    web.answers["/voice"] = texml('<Record action="done" timeout="2" playBeep="false" channels="dual"/>')
    web.answers["/done"] = texml("<Hangup/>")
    async with RtpEndpoint() as phone:
        body = steps.sdp(steps.PCMU_LINES, phone.port)
        async with sipp(steps.invite(body), steps.answered(), steps.ack(), steps.byed()) as run:
            _, port = await run.answered()
            phone.speak([tone(3000)[n : n + 160] for n in range(0, 24000, 160)], port)
            await run.succeeds()
    (told,) = web.asked("/done")
    path = told.fields["RecordingUrl"]
    assert [int(sox("--i", f"-{what}", path)) for what in ("c", "r", "b")] == [2, 8000, 16], "channels, rate, bits"
    assert float(sox("--i", "-D", path)) == pytest.approx(5, abs=0.7), "three seconds of tone and two of silence"
    said, heard = measured(path, 1), measured(path, 2)
    assert said["Rough frequency"] == pytest.approx(440, abs=5)
    assert said["RMS amplitude"] > 0.05
    assert heard["RMS amplitude"] < 0.001
