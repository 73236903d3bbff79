"""`trunkline check`: judges a bot without a call."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

USAGE = 4
"""Exit code of a mistake on the command line, as of `streamdouble`."""
EXAMPLES = """Examples: trunkline check ws://127.0.0.1:9000/; trunkline check ws://127.0.0.1:7860/ws --json
--max-first-audio-ms 800 --junit check.xml. Exit codes: 0 clean, 1 a limit was missed, 2 the bot never spoke,
3 it broke the protocol, 4 usage, 5 no connection."""
WIRE_HELP = "Whose messages the bot speaks: telnyx; other dialects come with other faces of the server."


def check_bot(
    url: Annotated[str, typer.Argument(metavar="URL", help="The bot's WebSocket: ws://… or wss://…")],
    wire: Annotated[str, typer.Option(help=WIRE_HELP)] = "telnyx",
    mode: Annotated[str, typer.Option(help="The stream's BidirectionalMode: rtp or mp3.")] = "rtp",
    codec: Annotated[
        str, typer.Option(help="What the bot sends, its BidirectionalCodec: PCMU, PCMA, G722, L16/16000, …")
    ] = "PCMU",
    call_codec: Annotated[str, typer.Option(help="What the bot hears.")] = "PCMU",
    token: Annotated[str | None, typer.Option(help="The stream's AuthToken.", envvar="TRUNKLINE_AUTH_TOKEN")] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="A custom parameter: NAME=VALUE; repeat it.")] = None,
    max_first_audio_ms: Annotated[float | None, typer.Option(help="Limit: from start to the first audio.")] = None,
    max_clear_ms: Annotated[float, typer.Option(help="Limit: from the caller's interruption to clear.")] = 2000,
    wait: Annotated[float, typer.Option(help="Seconds for the bot's first words.")] = 6,
    allow_no_audio: Annotated[bool, typer.Option("--allow-no-audio", help="The bot need not speak.")] = False,
    no_reconnect: Annotated[bool, typer.Option("--no-reconnect", help="Do not break the connection.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the result as JUnit XML, too.")] = None,
) -> None:
    """Talk to a bot as the server would, about ten seconds, and say what is wrong with it."""
    from trunkline.apps.check import DEFAULT, check

    check_wire(wire)
    asked = stream_asked(url, mode, codec, call_codec, token, parameter or [])
    for name, value in (
        ("--max-clear-ms", max_clear_ms),
        ("--wait", wait),
        ("--max-first-audio-ms", max_first_audio_ms),
    ):
        if value is not None and not 0 < value <= 600_000:
            misused(f"{name} {value:g}: it must be above 0 and at most 600000")
    plan = replace(
        DEFAULT,
        answer=wait,
        clear=max_clear_ms / 1000,
        reconnect=None if no_reconnect else DEFAULT.reconnect,
        first_audio_ms=max_first_audio_ms,
        allow_no_audio=allow_no_audio,
    )
    asked = replace(asked, wire=wire)
    finish(asyncio.run(check(asked, plan, progress(as_json=as_json))), as_json=as_json, junit=junit)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="check", epilog=EXAMPLES)(check_bot)


def check_wire(wire: str) -> None:
    """End with a line and `USAGE` for a dialect that there is not."""
    from trunkline.apps.dialects import WIRES

    if wire not in WIRES:
        misused(f"--wire {wire!r}: there is {', '.join(WIRES)}")


def stream_asked(url: str, mode: str, codec: str, call_codec: str, token: str | None, parameters: list[str]) -> Any:
    """The `BotStream` of these options; ends with a line and `USAGE` for those that do not fit."""
    from trunkline.apps.stream import BotStream, BotUnreachable
    from trunkline.media.codecs import CODECS
    from trunkline.streaming.params import BidirectionalMode

    plain = [name for name, row in CODECS.items() if row.bytes_per_ms]
    for name, value in (("--codec", codec), ("--call-codec", call_codec)):
        if value not in plain:
            misused(f"{name} {value!r}: there are {', '.join(plain)}")
    if mode not in ("rtp", "mp3"):
        misused(f"--mode {mode!r}: there are rtp and mp3")
    pairs = tuple((name, value) for name, _, value in (one.partition("=") for one in parameters))
    asked = BotStream(url, BidirectionalMode(mode), call_codec, codec, auth_token=token, custom_parameters=pairs)
    try:
        asked.params()
    except BotUnreachable as problem:
        misused(str(problem))
    return asked


def progress(*, as_json: bool) -> Any:
    """Says what is being done, on a terminal alone."""
    if as_json or not sys.stderr.isatty():
        return lambda _: None
    return lambda text: sys.stderr.write(f"\r\x1b[K{text} ")


def finish(findings: Any, *, as_json: bool, junit: Path | None) -> None:
    """Print what was found, and end with its exit code."""
    if sys.stderr.isatty() and not as_json:
        sys.stderr.write("\r\x1b[K")
    if junit is not None:
        try:
            junit.write_bytes(findings.junit())
        except OSError as problem:
            misused(f"{junit}: {problem.strerror}")
    typer.echo(json.dumps(findings.json()) if as_json else "\n".join(findings.lines()))
    raise typer.Exit(int(findings.exit_code))


def misused(text: str) -> NoReturn:
    """End with a line and `USAGE`."""
    typer.echo(f"trunkline: {text}", err=True)
    raise typer.Exit(USAGE)
