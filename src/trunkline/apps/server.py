"""Runs a test app until Ctrl-C."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from trunkline.apps import traffic, wire
from trunkline.apps.kinds import KINDS, AppStream
from trunkline.apps.wire import AppNote
from trunkline.errors import StartupError

# A request that is no WebSocket's would be logged with a traceback.
_silent = logging.Logger("apps", logging.CRITICAL + 1)
MESSAGE_LIMIT = 8 * 1024 * 1024
"""Bytes of a message from the server."""


async def listen(
    kind: str, argument: str, *, host: str, port: int, codec: str, report: Callable[[AppNote], None]
) -> Server:
    """The app as a server. Raises StartupError."""
    row = KINDS[kind]
    row.check(argument)

    async def converse(socket: ServerConnection) -> None:
        report(AppNote("open", {"from": "{}:{}".format(*socket.remote_address[:2])}))
        try:
            await row.run(AppStream(socket, argument, codec, report))
        except ConnectionClosed:
            pass
        except (OSError, StartupError) as problem:  # of its file or its bot
            report(AppNote("error", {"text": str(problem)}))
        finally:
            await socket.close()
            report(AppNote("close", {"code": socket.close_code}))

    try:
        return await serve(converse, host, port, compression=None, max_size=MESSAGE_LIMIT, logger=_silent)
    except OSError as problem:
        raise StartupError(f"cannot listen on {host}:{port}: {problem.strerror}") from problem


def printer(*, as_json: bool, write: Callable[[str], object]) -> Callable[[AppNote], None]:
    """Where the notes of an app go: lines for people, or of JSON."""

    def report(note: AppNote) -> None:
        now = datetime.now().astimezone()
        if as_json:
            write(wire.as_json(note, now))
        elif note.event in (traffic.TO_BOT, traffic.TO_SERVER):
            write(traffic.line(note))
        else:
            write(wire.shown(note, now))

    return report


async def run(
    kind: str, argument: str, *, host: str, port: int, codec: str, as_json: bool, write: Callable[[str], object]
) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartupError."""
    report = printer(as_json=as_json, write=write)
    async with await listen(kind, argument, host=host, port=port, codec=codec, report=report) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://{f'[{host}]' if ':' in host else host}:{port}/"
        report(AppNote("listen", {"text": f"{kind} at {url}  (Ctrl-C ends it)", "url": url, "app": kind}))
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # where the loop has no signals
                loop.add_signal_handler(number, partial(ended.set))
        await ended.wait()
