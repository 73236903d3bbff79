"""`trunkline app proxy URL`: stands between a server and a bot, and shows what they send."""

import asyncio
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from trunkline.apps.traffic import TO_BOT, TO_SERVER, Traffic
from trunkline.apps.wire import AppNote

_PASSED_ON = ("authorization", "x-telnyx-streaming-auth-token", "user-agent")
"""Headers of the upgrade request that the bot gets too."""
BOT_UNREACHABLE = 1013
"""Close code for a bot that cannot be reached: try again later (RFC 6455 section 7.4, IANA's registry)."""


async def proxy(server: ServerConnection, url: str, report: Callable[[AppNote], None]) -> None:
    """Pass everything on until one of the two closes, and then its code."""
    request = server.request
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers} if request else {}
    user_agent = headers.pop("user-agent", None)
    try:
        bot = await connect(
            url,
            additional_headers=headers,
            user_agent_header=user_agent,
            compression=None,
            max_size=None,
            proxy=None,
            ping_interval=None,
        )
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as problem:
        report(AppNote("error", {"text": f"no bot at {url}: {problem}"}))
        await server.close(BOT_UNREACHABLE, "the bot cannot be reached")
        return
    time = asyncio.get_running_loop().time
    traffic = Traffic(time())

    async def pump(source: ServerConnection | ClientConnection, sink: ServerConnection | ClientConnection) -> None:
        direction = TO_BOT if source is server else TO_SERVER
        try:
            async for message in source:
                is_text = isinstance(message, str)
                notes = (
                    traffic.text(direction, message, time())
                    if isinstance(message, str)
                    else traffic.binary(direction, len(message), time())
                )
                for note in notes:
                    report(note)
                await sink.send(message, text=is_text)
        except ConnectionClosed:
            pass
        for note in traffic.closed(direction, source.close_code, source.close_reason or "", time()):
            report(note)
        code = source.close_code or 1000
        # 1005, 1006 and 1015 are never sent (RFC 6455 section 7.4.1).
        if code == 1006:
            sink.transport.abort()
        else:
            await sink.close(1000 if code in (1005, 1015) else code, source.close_reason or "")

    pumps = [asyncio.ensure_future(pump(server, bot)), asyncio.ensure_future(pump(bot, server))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in pumps:
            task.cancel()
        await bot.close()
