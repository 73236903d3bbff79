"""`trunkline app`: WebSocket apps to test with."""

import asyncio
from typing import Annotated

import typer

from trunkline.errors import StartupError

HELP = """Run a WebSocket app to test with, until Ctrl-C.

\b
echo              sends back what it hears
record DIRECTORY  writes what it hears into wav files
tone HZ           plays a tone, a mark after each second
say TEXT          says a text; stops when the caller interrupts
levels            shows how loud each track is
proxy URL         passes all on to a bot, and shows it
stall             stops reading
drop SECONDS      breaks the connection off, without a close
garbage           sends wrong messages, shows the errors that come
"""
EXAMPLES = """Examples: trunkline app echo; trunkline app say "How can I help?" --port 9001;
trunkline app proxy ws://127.0.0.1:7860/ws. Streams should have BidirectionalMode=rtp."""


def run_app(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="One of the above.")],
    argument: Annotated[str, typer.Argument(metavar="[ARGUMENT]", help="What the kind asks for.")] = "",
    port: Annotated[int, typer.Option(help="TCP port; 0: any that is free.", min=0, max=65535)] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    codec: Annotated[str, typer.Option(help="What the app sends: the stream's BidirectionalCodec.")] = "PCMU",
    as_json: Annotated[bool, typer.Option("--json", help="Lines of JSON.")] = False,
) -> None:
    """See `HELP`."""
    from trunkline.apps.kinds import KINDS
    from trunkline.apps.server import run
    from trunkline.media.codecs import CODECS

    if kind not in KINDS:
        raise StartupError(f"no app {kind!r}; there are {', '.join(KINDS)}")
    if codec not in CODECS or not CODECS[codec].bytes_per_ms:
        plain = ", ".join(name for name, row in CODECS.items() if row.bytes_per_ms)
        raise StartupError(f"no codec {codec!r} to send; there are {plain}")
    asyncio.run(run(kind, argument, host=host, port=port, codec=codec, as_json=as_json, write=_print))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="app", help=HELP, epilog=EXAMPLES)(run_app)


def _print(line: str) -> None:
    try:
        typer.echo(line)
    except BrokenPipeError:
        raise SystemExit(0) from None
