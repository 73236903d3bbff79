"""A stream to a bot, as the server runs it, but without a call: the caller's audio comes from here.

The rules are the server's own: `Stream` makes the messages, reads those of the bot, and plays its audio. A clock asks
it for a packet every 20 ms, as a leg does. The socket is the `websockets` library's, so that what is judged here does
not depend on the server's own.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from trunkline import USER_AGENT
from trunkline.apps.dialects import WIRES
from trunkline.apps.stream import BotStream, BotUnreachable, InlineDecoder
from trunkline.apps.trace import FRAME_MS, Closed, Played, Received, Sent, Trace, is_audible
from trunkline.apps.wire import read
from trunkline.config import StreamSettings
from trunkline.media.codecs import CODECS
from trunkline.streaming import messages
from trunkline.streaming.session import MessageSink, SendBuffer

CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 5.0
"""Seconds for the bot's close frame, as `streams.close_timeout`."""
MESSAGE_RATE = 10_000
"""Messages of the bot that are read in a second, after as many at once: as of the server."""
TURN = 50
"""Messages that are read before others have their turn."""
PING_TIMEOUT = 3.0
"""Seconds after which a ping counts as not answered."""


class _Clock:
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> datetime:
        return datetime.now(UTC)


class _BotSink(MessageSink):
    """Keeps what is to be sent until the socket takes it."""

    def __init__(self, trace: Trace, settings: StreamSettings, time: Callable[[], float]) -> None:
        super().__init__(SendBuffer(settings.send_buffer, settings.mark_limit))
        self.there = asyncio.Event()
        """Something waits."""
        self.empty = asyncio.Event()
        """All was handed to the system."""
        self._trace = trace
        self._time = time

    def media(self, message: bytes, at: int) -> None:
        self.outbox.media(message, at)
        self.empty.clear()
        self.there.set()

    def control(self, message: bytes) -> None:
        content = read(message)
        self._trace.sent.append(Sent(self._time(), str(content.get("event")), content))
        self.outbox.control(message)
        self.empty.clear()
        self.there.set()


class BotCall:
    """One socket. Use: `open`, then `speak`, `press`, `until`; at the end `hang_up` or `abort`."""

    def __init__(self, asked: BotStream, settings: StreamSettings | None = None, *, speed: float = 1.0) -> None:
        """`speed`: how fast the clock of the call is."""
        self.asked = asked
        self._speed = speed
        self._wire = WIRES[asked.wire]
        self.trace = Trace(asked.codec, asked.bot_codec, asked.mode.value)
        self._settings = settings or StreamSettings()
        self._identity = asked.identity()
        soon = asyncio.get_running_loop().call_soon
        self._stream = self._wire.stream(
            asked.params(), self._identity, asked.codec, self._settings, InlineDecoder(soon), lambda _: None, _Clock()
        )
        self._stream.leg_changed(asked.codec, FRAME_MS)
        self._silence = CODECS[asked.codec].silence(FRAME_MS)
        self._words: list[bytes] = []
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._pinging: list[asyncio.Task[None]] = []
        self._stopped = False
        self._began = 0.0
        self._socket: ClientConnection | None = None

    @property
    def now(self) -> float:
        """Seconds since `connected`."""
        return asyncio.get_running_loop().time() - self._began

    @property
    def leg_ms(self) -> int:
        """Milliseconds on the call's clock, which stands still while this machine is too busy to send."""
        wall = round((asyncio.get_running_loop().time() - self._began) * 1000 * self._speed)
        return min(wall, (len(self.trace.said) + 1) * FRAME_MS)

    @property
    def queued_ms(self) -> int:
        """Audio of the bot that waits."""
        return self._stream.report().queued_ms

    @property
    def marks_pending(self) -> int:
        """Marks of the bot that have not come back."""
        asked = sum(isinstance(one.what, messages.Mark) for one in self.trace.received)
        return asked - self._stream.report().marks

    @property
    def over(self) -> bool:
        """The socket is closed."""
        return self.trace.closed is not None

    @property
    def speaking(self) -> bool:
        """The caller has words left."""
        return bool(self._words)

    async def open(self, replay: Sequence[bytes] = (), *, after: float = 0.0) -> None:
        """Connect after so many seconds, and send `connected`, `start` and the frames of `replay`. Raises
        BotUnreachable."""
        await asyncio.sleep(after)
        token = self.asked.auth_token
        headers = {} if token is None else {"x-telnyx-streaming-auth-token": token}
        try:
            self._socket = await connect(
                self.asked.url,
                additional_headers=headers,
                user_agent_header=USER_AGENT,
                compression=None,
                max_size=self._settings.message_limit,
                ping_interval=None,
                open_timeout=CONNECT_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                proxy=None,
            )
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError, ValueError) as problem:
            raise BotUnreachable(_words(problem)) from None
        self._began = asyncio.get_running_loop().time()
        sink = _BotSink(self.trace, self._settings, lambda: self.now)
        self._stream.begin(self._began)
        self._stream.opened(sink, self._began)
        for number, frame in enumerate(replay):
            self._stream.inbound_frame(frame, (number - len(replay)) * FRAME_MS, 0)
        self._sink = sink
        self._tasks = [asyncio.create_task(work) for work in (self._send(), self._receive(), self._run_clock())]
        self._tasks[2].add_done_callback(lambda _: self._let_go())

    def speak(self, frames: Sequence[bytes]) -> None:
        """The caller says this, once it has said what is left."""
        self._words += frames

    def press(self, digit: str) -> None:
        """The caller presses a key."""
        self._stream.digit(digit)

    def send(self, message: bytes) -> None:
        """Send a message that the stream would not send."""
        self._sink.control(message)

    def ping(self) -> None:
        """Measure how far the bot is behind: a ping is answered when all before it has been read."""
        self._pinging.append(asyncio.create_task(self._ping()))

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until it holds, looked at with each packet and message; False if it does not within so many seconds of
        the call's clock, or before the socket ends."""
        deadline = self.leg_ms + seconds * 1000
        if condition():
            return True
        if self.over:
            return False
        holds: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lambda: condition() or self.leg_ms >= deadline, holds))
        await holds
        return condition()

    async def hang_up(self) -> Trace:
        """Send `stop` and close 1000, as at the end of a call."""
        if self._socket is not None and not self.over:
            await asyncio.gather(*self._pinging)
            self._freeze()
            self._stopped = True
            stop = self._stream.close("the caller hung up")
            self._tasks[2].cancel()
            if stop is not None:
                self._sink.control(stop)
            began = self.now
            await self._drained()
            try:
                await asyncio.wait_for(self._socket.close(1000), 2 * CLOSE_TIMEOUT)
            except TimeoutError:  # a bot that sends and never reads: not even our close frame leaves
                self._socket.transport.abort()
            if self._socket.close_code != 1006:
                self.trace.closing = self.now - began
        return await self._end()

    async def abort(self) -> Trace:
        """Break the connection, as a network does."""
        if self._socket is not None and not self.over:
            self._freeze()
            self._stopped = True
            self._socket.transport.abort()
        return await self._end()

    async def _drained(self) -> None:
        """Until all that waits was handed to the system, or the bot reads nothing for as long as it may take."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._sink.empty.wait(), CLOSE_TIMEOUT)

    async def _end(self) -> Trace:
        if len(self._tasks) > 1:
            await asyncio.wait(self._tasks[1:2], timeout=1)
        for task in (*self._tasks, *self._pinging):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._pinging, return_exceptions=True)
        outbox = self._sink.outbox if self._socket is not None else None
        if outbox is not None:
            self.trace.dropped = outbox.dropped_frames + outbox.dropped_control
        self._stream.release()
        return self.trace

    def _freeze(self) -> None:
        """Keep the state of the playback: the end of the stream clears it."""
        report = self._stream.report()
        self.trace.queued_ms = report.queued_ms
        self.trace.marks_pending = self.marks_pending
        self.trace.underruns = report.underruns
        self.trace.errors = {str(title): count for title, count in report.errors.items()}

    async def _send(self) -> None:
        assert self._socket is not None
        while True:
            message = self._sink.outbox.pop()
            if message is None:
                self._sink.empty.set()
                self._sink.there.clear()
                await self._sink.there.wait()
                continue
            try:
                await self._socket.send(message, text=True)
            except ConnectionClosed:
                return

    async def _receive(self) -> None:
        assert self._socket is not None
        with suppress(ConnectionClosed):
            async for data in self._socket:
                at, queued = self.now, self.queued_ms
                if isinstance(data, str):
                    encoded = data.encode()
                    self.trace.received.append(Received(at, self._wire.read(encoded), queued, self.leg_ms))
                    self._stream.text(encoded, self._began + at)
                else:
                    self.trace.received.append(Received(at, len(data), queued))
                    self._stream.binary(self._began + at)
                self._look()
                await self._keep_pace()
        if not self._stopped:
            self._freeze()
        code: int | None = self._socket.close_code
        self.trace.closed = Closed(
            self.now, None if code == 1006 else code, self._socket.close_reason or "", not self._stopped
        )
        self._look()

    async def _keep_pace(self) -> None:
        """A bot that floods is read as fast as the server reads one: the clock goes on, and the trace stays bounded."""
        count = len(self.trace.received)
        if count % TURN == 0:
            await asyncio.sleep(max(0.0, count / MESSAGE_RATE - 1 - self.now))

    async def _run_clock(self) -> None:
        loop = asyncio.get_running_loop()
        tick = 0
        while not self.over:
            due = self._began + tick * FRAME_MS / 1000 / self._speed
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.trace.lateness.append(max(0.0, (loop.time() - due) * 1000))
            at = tick * FRAME_MS
            frame = self._words.pop(0) if self._words else self._silence
            self.trace.said.append(frame)
            if frame is not self._silence and is_audible(frame, self.asked.codec):
                self.trace.words.append(frame)
            self._stream.inbound_frame(frame, at, 0)
            played = self._stream.next_frame(at)
            if played is not None:
                self.trace.played.append(Played(at, played, is_audible(played, self.asked.codec)))
            if self.asked.track.outbound:
                self._stream.outbound_frame(played or self._silence, at)
            tick += 1
            self._look()

    def _look(self) -> None:
        for condition, holds in self._waiting:
            if not holds.done() and (self.over or condition()):
                holds.set_result(None)
        self._waiting = [one for one in self._waiting if not one[1].done()]

    def _let_go(self) -> None:
        """The clock has ended: there is nothing more to wait for."""
        for _, holds in self._waiting:
            if not holds.done():
                holds.set_result(None)

    async def _ping(self) -> None:
        assert self._socket is not None
        at = self.now
        try:
            async with asyncio.timeout(PING_TIMEOUT):
                await self._sink.empty.wait()
                await (await self._socket.ping())
            self.trace.pings.append((at, self.now - at))
        except TimeoutError:
            self.trace.pings.append((at, None))
        except ConnectionClosed:
            pass


def _words(problem: Exception) -> str:
    text = str(problem) or type(problem).__name__
    if isinstance(problem, ConnectionRefusedError):
        return "connection refused: is the bot running, and is this its port?"
    if isinstance(problem, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:g} s"
    return text
