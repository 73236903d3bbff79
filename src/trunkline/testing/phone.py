"""The fixture `phone`: calls a bot through a server of this machine, and judges it."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trunkline.phone.call import NO_FAULTS, PhoneCall
from trunkline.phone.conversation import Script, converse, is_quiet
from trunkline.phone.values import Impairments
from trunkline.testing.calls import RATE, DialledCall, FinishedCall, Sound, pcm_of
from trunkline.testing.server import LocalServer, ServerProblem

CALLER, CALLED = "+13125550100", "+13125550123"
BOT_TIMEOUT = 30.0
"""Seconds until a bot's port takes connections."""
BOT_STOP_TIMEOUT = 10.0
INTERRUPT_AFTER = 0.5
"""Seconds of the bot's speech after which the caller interrupts it."""
SPEAK_AFTER = 1.0
"""Seconds after which the caller speaks to a bot that does not greet."""
_POLL = 0.05


class BotProblem(AssertionError):
    """The bot's process ended, or does not listen."""


class Phone:
    """Calls bots. Each call goes by SIP to `server`, which streams it to the bot's WebSocket."""

    def __init__(self, server: LocalServer, folders: Sequence[Path] = ()) -> None:
        """Audio files are looked for in `folders`."""
        self.server = server
        self._folders = tuple(folders)
        self._processes: list[subprocess.Popen[bytes]] = []

    async def call(
        self,
        url: str,
        *,
        say: Sound = b"",
        interrupt: Sound = b"",
        keys: str = "",
        wait_for_quiet: bool = False,
        hang_up_after: float | None = None,
        reply_timeout: float = 5.0,
        quiet: float = 1.0,
        stream: Mapping[str, str] | None = None,
        codec: str = "PCMU",
        caller: str = CALLER,
        called: str = CALLED,
        impairments: Impairments = NO_FAULTS,
        seed: int | None = None,
    ) -> FinishedCall:
        """A whole call. The caller says `say`: over the greeting once it has heard half a second of it, or after a
        second of silence; with `wait_for_quiet` after the greeting. Then it presses `keys`, and waits `reply_timeout`
        seconds for a reply; with `interrupt` it says that into the reply. It hangs up when the bot has been quiet for
        `quiet` seconds, or `hang_up_after` seconds after the answer. `stream`: further fields of the stream, as REST
        has them. Raises NotMeasured if there is nothing to interrupt, PhoneError and ServerProblem."""
        speech, interruption = await asyncio.to_thread(self._sounds, say, interrupt)
        script = Script(
            speech=speech,
            digits=keys,
            speak_after=SPEAK_AFTER,
            interrupt_after=None if wait_for_quiet else INTERRUPT_AFTER,
            wait_for_quiet=wait_for_quiet,
            hang_up_after=hang_up_after,
            reply_timeout=reply_timeout,
            quiet=quiet,
        )
        async with self.dial(
            url, stream=stream, codec=codec, caller=caller, called=called, impairments=impairments, seed=seed
        ) as live:
            if interruption:
                with suppress(TimeoutError):  # it is time to hang up
                    async with asyncio.timeout(hang_up_after):
                        await self._interrupt(live, script, interruption)
            else:
                await converse(live.phone, script)
            return await live.finish()

    def _sounds(self, *wanted: Sound) -> list[bytes]:
        return [pcm_of(sound, self._folders) for sound in wanted]

    @staticmethod
    async def _interrupt(live: DialledCall, script: Script, interruption: bytes) -> None:
        """Say what is to be said, let the bot answer, and speak into its answer."""
        call, audio = live.phone, live.phone.core.audio
        if script.speech:
            await call.until(lambda: call.is_over or audio.audible_ms >= INTERRUPT_AFTER * 1000, SPEAK_AFTER)
            if script.wait_for_quiet:
                await live.wait_for_quiet(script.quiet)
            await live.say(script.speech)
        before = audio.audible_ms
        if script.digits:
            live.press(script.digits)
        await live.hear(before + INTERRUPT_AFTER * 1000, script.reply_timeout)
        await live.say(interruption)
        await call.until(lambda: call.is_over or is_quiet(call, script.quiet), script.longest)

    @asynccontextmanager
    async def dial(
        self,
        url: str,
        *,
        stream: Mapping[str, str] | None = None,
        codec: str = "PCMU",
        caller: str = CALLER,
        called: str = CALLED,
        impairments: Impairments = NO_FAULTS,
        seed: int | None = None,
    ) -> AsyncIterator[DialledCall]:
        """A call that the test drives: `async with phone.dial(url) as call: await call.say("Hello")`. The bot's stream
        has been started. Raises PhoneError, ServerProblem."""
        fields = {
            "Url": url,
            "Track": "inbound_track",
            "BidirectionalMode": "rtp",
            "BidirectionalCodec": codec,
            **(stream or {}),
        }
        call = PhoneCall(
            self.server.sip_uri(called), user=caller, codecs=[codec], rate=RATE, impairments=impairments, seed=seed
        )
        async with call:
            await call.wait_answered()
            begun = call.loop_time
            await asyncio.to_thread(self.server.start_stream, call.call_sid, fields)

            def findings() -> Sequence[str]:
                try:
                    return self.server.findings(call.call_sid)
                except ServerProblem as problem:
                    return [str(problem)]

            yield DialledCall(call, self._folders, begun, findings)

    @asynccontextmanager
    async def app(self, handler: Callable[[Any], Awaitable[None]]) -> AsyncIterator[str]:
        """A bot in the test's own process: a handler of the library `websockets`, on a free port; the URL of it."""
        from websockets.asyncio.server import serve

        async with serve(handler, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield f"ws://127.0.0.1:{port}/"

    def start(self, command: Sequence[str], url: str, **options: Any) -> str:
        """Start a bot's process, wait until the port of its URL takes connections, and return the URL. It is ended with
        the test. `options` are those of `subprocess.Popen`. Raises BotProblem."""
        process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, **options)
        self._processes.append(process)
        self.wait_for(url, process=process)
        return url

    def wait_for(
        self,
        url: str,
        timeout: float = BOT_TIMEOUT,
        process: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        """Wait until the port of a bot's URL takes connections, such as that of a container. Raises BotProblem."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        give_up = time.monotonic() + timeout
        while True:
            with suppress(OSError), socket.create_connection((parts.hostname or "", port), 1.0):
                return
            if process is not None and process.poll() is not None:
                raise BotProblem(f"the bot ended with exit code {process.returncode}, and does not listen at {url}")
            if time.monotonic() > give_up:
                raise BotProblem(f"nothing listens at {url} after {timeout:g} s")
            time.sleep(_POLL)

    def close(self) -> None:
        """End the bots that `start` has started."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(BOT_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
