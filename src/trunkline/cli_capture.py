"""`trunkline replay` and `trunkline export`: captures of streams, played again and heard."""

import asyncio
import wave
from pathlib import Path
from typing import Annotated, Any

import typer

from trunkline.cli_check import WIRE_HELP, check_wire, finish, misused, progress

PART = ".002"
"""In the name of the second file of a capture."""
EXAMPLES = "Example: trunkline serve --streams.capture captures; trunkline "
CaptureFile = Annotated[Path, typer.Argument(metavar="CAPTURE", help="The first file of a capture: ….capture.jsonl")]


def replay_capture(
    file: CaptureFile,
    url: Annotated[str, typer.Argument(metavar="URL", help="The bot's WebSocket.")],
    save_baseline: Annotated[Path | None, typer.Option(help="Write the measures to this file.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Compare with measures that were saved.")] = None,
    speed: Annotated[float, typer.Option(help="So many times as fast: 0.1 to 100. Not 1: no times are judged.")] = 1.0,
    wire: Annotated[str, typer.Option(help=WIRE_HELP)] = "telnyx",
    max_first_audio_ms: Annotated[float | None, typer.Option(help="Limit: from start to the first audio.")] = None,
    allow_no_audio: Annotated[bool, typer.Option("--allow-no-audio", help="The bot need not speak.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the result as JUnit XML, too.")] = None,
) -> None:
    """Play a captured call to a bot again, and compare. Exit codes: those of `trunkline check`."""
    from trunkline.apps.captured import BadCapture
    from trunkline.apps.replay import baseline_of, compared, read_baseline, replay

    check_wire(wire)
    if not 0.1 <= speed <= 100:
        misused(f"--speed {speed:g}: it must be from 0.1 to 100")
    if speed != 1 and max_first_audio_ms is not None:
        misused("--max-first-audio-ms needs --speed 1: at another speed times mean nothing")
    capture = _capture(file)
    try:
        kept = None if baseline is None else read_baseline(_text(baseline), capture)
        say, limit = progress(as_json=as_json), max_first_audio_ms
        found = asyncio.run(replay(capture, url, say, first_audio_ms=limit, speed=speed, wire=wire))
    except BadCapture as problem:
        misused(f"{file}: {problem}")
    found.allow_no_audio = allow_no_audio
    if kept is not None and not found.unreachable:
        found.items += compared(kept, found.measures, speed=speed)
    if save_baseline is not None and not found.unreachable:
        try:
            save_baseline.write_text(baseline_of(found, capture))
        except OSError as problem:
            misused(f"{save_baseline}: {problem.strerror}")
    finish(found, as_json=as_json, junit=junit)


def export_capture(
    file: CaptureFile,
    wav: Annotated[Path, typer.Argument(metavar="WAV", help="The file to write.")],
) -> None:
    """Make a capture a stereo wav file: what the bot heard on the left, what was played of its audio on the right."""
    from trunkline.apps.captured import BadCapture
    from trunkline.apps.export import stereo

    capture = _capture(file)
    try:
        if not capture.has_audio():
            raise BadCapture("it has no audio, only hashes of it (streams.capture_payloads)")
        pcm, rate = stereo(capture)
        with wave.open(str(wav), "wb") as written:
            written.setnchannels(2)
            written.setsampwidth(2)
            written.setframerate(rate)
            written.writeframes(pcm)
    except BadCapture as problem:
        misused(f"{file}: {problem}")
    except OSError as problem:
        misused(f"{wav}: {problem.strerror}")
    typer.echo(f"{wav}: {len(pcm) / 4 / rate:.1f} s at {rate} Hz, left heard by the bot, right played")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="replay", epilog=EXAMPLES + "replay CAPTURE ws://127.0.0.1:7860/ws")(replay_capture)
    app.command(name="export", epilog=EXAMPLES + "export CAPTURE call.wav")(export_capture)


def _capture(file: Path) -> Any:
    """The capture with all its parts; ends with a line for what is none."""
    from trunkline.apps.captured import BadCapture, read_capture

    stem, dot, suffix = file.name.partition(".")
    parts = [file, *sorted(file.parent.glob(f"{stem}.[0-9]*{dot}{suffix}"))]
    try:
        return read_capture(_text(part) for part in parts)
    except BadCapture as problem:
        misused(f"{file}: {problem}")


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as problem:
        misused(f"{file}: {problem.strerror}")
