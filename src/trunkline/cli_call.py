"""`trunkline call`: a caller that speaks, presses keys, listens, and says what the call was like."""

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from trunkline.cli_settings import ANY_SETTING, ConfigFile, SettingsCommand, load_settings
from trunkline.config import Settings
from trunkline.errors import StartupError

if TYPE_CHECKING:
    from trunkline.phone.batch import Batch
    from trunkline.phone.values import PhoneEvent

USAGE = 4
"""Exit code of a mistake on this command line, as `streamdouble` has it."""
INTERRUPTED = 130
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""UsageError of the click that typer uses, its own or the library."""
HELP = """Examples:

  trunkline call +13125550123 --say "Hello" --record heard.wav

  trunkline call sip:bob@192.0.2.20 --play hello.wav --dtmf 1w2 --hangup-after 10s

  trunkline call +13125550123 --say Hello --expect-audio 2s --json

  trunkline call +13125550123 --say Hello --calls 50 --rate 5 --loss 2% --jitter 30ms

Exit codes: 0 clean, 1 a limit was missed, 2 the other side never spoke, 3 it broke the protocol, 4 usage,
5 no connection. Any setting of the server is a flag too: --sip.port 5070."""
_UNITS: dict[str, dict[str, float]] = {
    "time": {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0},
    "milliseconds": {"ms": 0.001, "s": 1.0, "": 0.001},
    "share": {"%": 0.01, "": 1.0},
    "drift": {"ppm": 1.0, "": 1.0},
}
"""Units of each kind of value, as factors of its base unit; without a unit the last one is meant."""
_QUANTITY = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*([a-z%]*)")
_NUMBER = re.compile(r"[+0-9A-Za-z*#][0-9A-Za-z._*#-]*")
_KEYS = re.compile(r"[0-9A-D*#wW]{1,64}")


class CallCommand(SettingsCommand):
    """A mistake on the command line has the exit code `USAGE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `SettingsCommand`."""
        try:
            return super().parse_args(ctx, args)
        except _USAGE_ERROR as error:
            shown: Any = error
            _misused(f"{shown.format_message()} `trunkline call --help` lists the options.")


def call(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="NUMBER|sip:URI", help="A number at this machine's server, or a URI.")
    ],
    play: Annotated[Path | None, typer.Option(help="Audio file to say.")] = None,
    say: Annotated[str | None, typer.Option(help="Text to say, spoken by espeak-ng.")] = None,
    record: Annotated[Path | None, typer.Option(help="Wav file of what was heard.")] = None,
    dtmf: Annotated[str | None, typer.Option(help="Keys to press then; w waits 0.5 s, W 1 s.")] = None,
    hangup_after: Annotated[str | None, typer.Option(help="From the answer, as 10s; default: after the reply.")] = None,
    expect_audio: Annotated[str | None, typer.Option(help="The first audio must come in this time, as 2s.")] = None,
    talk: Annotated[bool, typer.Option("--talk", help="Talk by microphone and speaker.")] = False,
    calls: Annotated[int, typer.Option(help="How many calls to place.")] = 1,
    rate: Annotated[float, typer.Option(help="Calls that begin in a second.")] = 5.0,
    loss: Annotated[str, typer.Option(help="Share of our packets that is not sent, as 2%.")] = "0%",
    jitter: Annotated[str, typer.Option(help="How late our packets leave at most, as 30ms.")] = "0ms",
    reorder: Annotated[str, typer.Option(help="Share of our packets that leaves after the next.")] = "0%",
    drift: Annotated[str, typer.Option(help="How much our clock is fast, as 100ppm.")] = "0ppm",
    seed: Annotated[int | None, typer.Option(help="Of the faults; the same one gives the same faults.")] = None,
    ptime: Annotated[int | None, typer.Option(help="Milliseconds per packet: 10, 20, … 60.")] = None,
    codec: Annotated[str | None, typer.Option(help="The only codec to offer: PCMU, PCMA, G722, OPUS.")] = None,
    caller: Annotated[str, typer.Option("--from", help="Our number.")] = "+13125550100",
    user: Annotated[str | None, typer.Option(help="User for a SIP password.")] = None,
    password: Annotated[str | None, typer.Option(envvar="SIP_PASSWORD", help="The password of --user.")] = None,
    max_gap_ms: Annotated[float | None, typer.Option(help="Limit: between two packets.")] = None,
    max_cleared_ms: Annotated[float | None, typer.Option(help="Limit: to silence, once interrupted.")] = None,
    min_mos: Annotated[float | None, typer.Option(help="Limit: the least MOS (E-model) of what is heard.")] = None,
    allow_no_audio: Annotated[bool, typer.Option("--allow-no-audio", help="Silence is no failure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the result as JUnit XML, too.")] = None,
    config: ConfigFile = None,
) -> None:
    """Call a number or a SIP URI, speak, listen, and print what the call was like."""
    given = {name: value for name, value in locals().items() if name not in ("context", "config")}
    try:
        settings = load_settings(context, config).settings
        _run(given, settings)
    except StartupError as error:
        _misused(str(error))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="call", cls=CallCommand, context_settings=ANY_SETTING, epilog=HELP)(call)


def _run(given: dict[str, Any], settings: Settings) -> None:
    from trunkline.phone.outcome import CallLimits as Limits
    from trunkline.phone.outcome import call_json, call_lines, report, series_json, series_lines, worst_exit_code
    from trunkline.phone.values import PhoneError

    expected = _quantity("expect-audio", given["expect_audio"], "time")
    limits = Limits(
        first_audio_ms=None if expected is None else expected * 1000,
        gap_ms=given["max_gap_ms"],
        cleared_ms=given["max_cleared_ms"],
        mos=given["min_mos"],
        allow_no_audio=given["allow_no_audio"],
    )
    for path in (given["record"], given["junit"]):
        if path is not None and not path.parent.is_dir():  # not after the calls
            raise StartupError(f"{path}: there is no directory {path.parent}")
    try:
        batch = _batch(given, settings, expected)
        results = _placed(batch, _progress(batch.calls, quiet=given["as_json"]), talk=given["talk"])
        if given["junit"] is not None:
            given["junit"].write_bytes(report(results, limits))
    except PhoneError as error:
        raise StartupError(str(error)) from None
    except OSError as error:
        raise StartupError(f"{given['junit']}: {error.strerror}") from None
    hint = _hint(given["target"], results[0], settings)
    if hint:
        typer.echo(f"trunkline: {hint}", err=True)
    single = len(results) == 1
    if given["as_json"]:
        typer.echo(json.dumps(call_json(results[0], limits) if single else series_json(results, limits), indent=2))
    else:
        typer.echo("\n".join(call_lines(results[0], limits) if single else series_lines(results, limits)))
    raise typer.Exit(int(worst_exit_code(results, limits)))


def _hint(target: str, result: Any, settings: Settings) -> str:
    """What to do about a call that our own server did not take; empty if it did."""
    if result.answered_ms is not None or target.lower().startswith("sip:"):
        return ""
    if result.status == 403:
        return "the server takes no calls of unknown callers: see sip.unknown_callers, or give --user"
    if result.status is None:
        place = uri_of(target, settings).partition("@")[2]
        return f"no server at {place}: start one by `trunkline dev ws://…`, or name it by --sip.port"
    return ""


def _placed(batch: "Batch", on_event: Callable[[int, "PhoneEvent"], None], *, talk: bool) -> list[Any]:
    """The results. Ctrl-C hangs up."""
    import asyncio

    from trunkline.phone.batch import run

    async def place() -> list[Any]:
        task, stop = asyncio.current_task(), asyncio.Event()
        assert task is not None
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, stop.set if talk else task.cancel)
            if talk:  # Ctrl-C is how such a call ends
                loop.add_signal_handler(signal.SIGINT, stop.set)
        if talk:
            from trunkline.phone.talk import talk_in

            return [await talk_in(batch, on_event, stop)]
        return await run(batch, on_event)

    try:
        return asyncio.run(place())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None


def _batch(given: dict[str, Any], settings: Settings, expected: float | None) -> "Batch":
    from trunkline.codecs import CALL_CODECS
    from trunkline.phone.batch import CALLS_LIMIT, Batch
    from trunkline.phone.conversation import Script
    from trunkline.phone.values import Impairments
    from trunkline.sip.values import Credentials

    codec, keys, ptime = given["codec"], given["dtmf"] or "", given["ptime"]
    if codec is not None and codec.upper() not in CALL_CODECS:
        raise StartupError(f"--codec {codec}: a call can use {', '.join(CALL_CODECS)}")
    if keys and not _KEYS.fullmatch(keys):
        raise StartupError(f"--dtmf {keys}: up to 64 of 0-9, *, #, A-D, and w or W for a pause")
    if ptime is not None and ptime not in range(10, 61, 10):
        raise StartupError(f"--ptime {ptime}: 10, 20, 30, 40, 50 or 60")
    if not 1 <= given["calls"] <= CALLS_LIMIT or not 0 < given["rate"] <= CALLS_LIMIT:
        raise StartupError(f"--calls must be 1 to {CALLS_LIMIT}, and --rate above 0 and at most {CALLS_LIMIT}")
    if (given["user"] is None) != (given["password"] is None):
        raise StartupError("--user and --password (or the variable SIP_PASSWORD) belong together")
    if given["talk"] and given["calls"] > 1:
        raise StartupError("--talk is for one call")
    pcm_rate = {"G722": 16000, "OPUS": 48000, None: 16000}.get(codec and codec.upper(), 8000)
    faults = [_quantity(name, given[name], kind) or 0.0 for name, kind in _FAULTS]
    options = {
        "user": given["caller"],
        "credentials": Credentials(given["user"], given["password"]) if given["user"] else None,
        "codecs": [codec.upper()] if codec else ("PCMU", "PCMA", "G722"),
        "ptime": ptime,
        "rate": pcm_rate,
        "impairments": Impairments(*faults[:3]),
        "drift_ppm": faults[3],
        "seed": given["seed"],
    }
    script = Script(
        speech=_speech(given, pcm_rate, settings.texml.speaker),
        digits=keys,
        hang_up_after=_quantity("hangup-after", given["hangup_after"], "time"),
        reply_timeout=max(Script().reply_timeout, expected or 0.0),
    )
    uri = uri_of(given["target"], settings)
    return Batch(uri, script, options, given["calls"], given["rate"], given["record"])


_FAULTS = (("loss", "share"), ("jitter", "milliseconds"), ("reorder", "share"), ("drift", "drift"))


def _speech(given: dict[str, Any], rate: int, speaker: str) -> bytes:
    from trunkline.phone import sounds

    pcm = b"" if given["play"] is None else sounds.load(given["play"], rate)
    return pcm + (b"" if given["say"] is None else sounds.speak(given["say"], rate, speaker))


def uri_of(target: str, settings: Settings) -> str:
    """A SIP URI as it is; a number at this machine's server."""
    if target.lower().startswith(("sip:", "sips:", "tel:")):
        return target
    if not _NUMBER.fullmatch(target):
        raise StartupError(f"{target!r} is neither a number nor a SIP URI such as sip:bob@192.0.2.20")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.sip.host, settings.sip.host)
    return f"sip:{target}@{f'[{host}]' if ':' in host else host}:{settings.sip.port}"


def _quantity(name: str, text: str | None, kind: str) -> float | None:
    """A number with its unit, in seconds, as a share of 1, or in ppm. Raises StartupError."""
    if text is None:
        return None
    units = _UNITS[kind]
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in units:
        example = next(iter(units))
        raise StartupError(f"--{name} {text}: a number with its unit, such as {2 if example == '%' else 100}{example}")
    value = float(match[1]) * units[match[2]]
    if (value < 0 and kind != "drift") or value > (1 if kind == "share" else 86_400):
        raise StartupError(f"--{name} {text} is out of range")
    return value


def _progress(calls: int, *, quiet: bool) -> Callable[[int, "PhoneEvent"], None]:
    """Writes what happens to stderr: each event of a single call, the numbers of several."""
    states: dict[int, str] = {}
    begun: list[float] = []

    def single(_: int, event: "PhoneEvent") -> None:
        begun.append(event.at)
        typer.echo(f"{event.at - begun[0]:7.2f} s  {event.kind:10} {event.detail}", err=True)

    def several(number: int, event: "PhoneEvent") -> None:
        states[number] = event.kind
        over, up = _count(states.values(), "ended"), len(states) - _count(states.values(), "ended")
        typer.echo(f"\r{over} of {calls} calls done, {up} under way ", err=True, nl=over == calls)

    if quiet or (calls > 1 and not os.isatty(2)):
        return lambda *_: None
    return single if calls == 1 else several


def _count(states: Sequence[str] | Any, kind: str) -> int:
    return sum(state == kind for state in states)


def _misused(text: str) -> NoReturn:
    typer.echo(f"trunkline: {text}", err=True)
    sys.exit(USAGE)
