"""An app in a process of its own, so that a test can kill it: a WebSocket server that prints what it gets, one message
a line, behind the line `ready`. `python app_process.py PORT`.
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


def show(line: str) -> None:
    """Print without buffering, so that a kill loses no line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def handle(connection: ServerConnection) -> None:
    """Print each message, send none."""
    try:
        async for message in connection:
            show(str(message))
    except ConnectionClosed:
        return


async def main(port: int) -> None:
    """Until killed."""
    async with serve(handle, "127.0.0.1", port):
        show("ready")
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
