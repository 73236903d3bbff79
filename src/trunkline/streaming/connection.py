"""The driver of one stream: connects, reconnects and closes its WebSocket. What a stream does is in `stream.py`.

One task per stream runs one `AppSocket` after the other. All else happens in callbacks, without tasks or awaits.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from structlog.typing import FilteringBoundLogger

from trunkline.config import StreamSettings
from trunkline.streaming.budget import UNBOUNDED, Budget
from trunkline.streaming.capture import CapturedReader, CapturedSink, RecordKind, StreamCapture
from trunkline.streaming.files import FileDecoder
from trunkline.streaming.message_handler import PressKeys
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.streaming.retry import Disconnect
from trunkline.streaming.session import MessageSink
from trunkline.streaming.socket import AppSocket, Sender
from trunkline.streaming.stream import Stream, StreamClosed, StreamOpened
from trunkline.streaming.watch import StreamWatch

_log = structlog.get_logger()


class _LoopClock:
    """The clocks of the running loop; see `stream.StreamClocks`."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> datetime:
        return datetime.now(UTC)


_CLOCK = _LoopClock()


class StreamConnection:
    """A `Stream` with its sockets. `on_fact` gets at most one `StreamOpened`, then exactly one `StreamClosed`, in the
    loop's thread. The owner attaches `stream` to the leg at `StreamOpened`."""

    __slots__ = (
        "__weakref__",
        "_attempt_at",
        "_budget",
        "_closed",
        "_ended",
        "_identity",
        "_on_fact",
        "_params",
        "_retry_now",
        "_sender",
        "_settings",
        "_socket",
        "_task",
        "capture",
        "stream",
    )

    def __init__(
        self,
        params: StreamParams,
        identity: StreamIdentity,
        encoding: str,
        settings: StreamSettings,
        on_fact: Callable[[StreamOpened | StreamClosed], None],
        decoder: FileDecoder,
        press: PressKeys,
        sender: Sender,
        budget: Budget = UNBOUNDED,
        capture: StreamCapture | None = None,
    ) -> None:
        self._budget = budget
        self.capture = capture
        """None: the stream is not captured."""
        self.stream = Stream(params, identity, encoding, settings, decoder, press, _CLOCK, self._budget)
        self._params = params
        self._identity = identity
        self._settings = settings
        self._on_fact = on_fact
        self._sender = sender
        self._task: asyncio.Task[None] | None = None
        self._socket: AppSocket | None = None
        """The socket in any state, connecting and closing included."""
        self._attempt_at = 0.0
        """When the next connection attempt starts, on the loop's clock."""
        self._retry_now: asyncio.Event | None = None
        """Ends the wait for it."""
        self._ended = False
        """`on_fact` got `StreamClosed`."""
        self._closed: asyncio.Event | None = None
        """Set then, if `wait_closed` is waiting."""

    # ── the owner ───────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Connect. Does nothing if the stream was closed before."""
        if self.stream.outcome is None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._done)

    def close(self, reason: str) -> None:
        """Send `stop` and close 1000; the app has `close_timeout` for its own close. Allowed in every state; does
        nothing if the stream has ended."""
        if self.stream.outcome is None:
            stop = self.stream.close(reason)
            if self._socket is not None and stop is not None:
                if self.capture is not None:
                    self.capture.put(RecordKind.TO_APP, stop)
                self._socket.close(stop)
            else:
                self._stop_connecting()

    def fail(self, error: str) -> None:
        """Close 1011, and end with an error. Allowed in every state; does nothing if the stream has ended."""
        if self.stream.outcome is None:
            is_open = self.stream.fail(error)
            if self._socket is not None and is_open:
                self._socket.fail(error)
            else:
                self._stop_connecting()

    def watch(self, watch: StreamWatch | None) -> None:
        """Let it note what goes over the socket that is open now; None = it notes nothing more."""
        if self._socket is not None:
            reader, sink = self._reader(), self._sink(self._socket)
            self._socket.read_by(reader if watch is None else watch.reader(reader))
            self.stream.send_through(sink if watch is None else watch.sink(sink))

    def _reader(self) -> "Stream | CapturedReader":
        return self.stream if self.capture is None else CapturedReader(self.stream, self.capture)

    def _sink(self, socket: AppSocket) -> MessageSink:
        return socket if self.capture is None else CapturedSink(socket, self.capture)

    async def wait_closed(self) -> None:
        """Until `on_fact` has got `StreamClosed`."""
        if not self._ended:
            self._closed = self._closed or asyncio.Event()
            await self._closed.wait()

    def _stop_connecting(self) -> None:
        if self._task is None:
            self._report_end()
        elif self._socket is not None:
            self._socket.cancel()
        elif self._retry_now is not None:
            self._retry_now.set()

    def _report_end(self) -> None:
        outcome = self.stream.outcome
        assert outcome is not None
        self._on_fact(outcome)
        self._ended = True
        if self._closed is not None:
            self._closed.set()

    def _log(self) -> FilteringBoundLogger:
        bound: FilteringBoundLogger = _log.bind(call_sid=self._identity.call_sid, stream_id=self._identity.stream_sid)
        return bound

    # ── the task ────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        loop, settings, stream = asyncio.get_running_loop(), self._settings, self.stream
        stream.begin(loop.time())
        send_buffer = settings.send_buffer
        while stream.outcome is None:
            self._socket = AppSocket(
                self._identity.account_sid,
                self._params.url,
                self._params.auth_token,
                settings,
                self,
                self._reader(),
                send_buffer,
                self._sender,
                self._budget,
            )
            await self._socket.run(stream.connect_timeout(loop.time()))
            stream.socket_released()
            self._socket = None
            if stream.outcome is None:
                self._retry_now = asyncio.Event()
                timer = loop.call_at(self._attempt_at, self._retry_now.set)
                await self._retry_now.wait()
                timer.cancel()
                self._retry_now = None
                # A socket after a loss has to carry the replay besides.
                send_buffer = settings.send_buffer + settings.replay

    def _done(self, task: asyncio.Task[None]) -> None:
        """The task's done callback, so that every way in which it can end is reported."""
        if task.cancelled():
            self.stream.end(error="the stream was cancelled")
        elif (bug := task.exception()) is not None:
            self._log().error("stream_task_failed", reason=repr(bug), exc_info=bug)
            self.stream.end(error="internal error")
        self.stream.release()
        if self.capture is not None and self.stream.outcome is not None:
            self.capture.note("end", reason=self.stream.outcome.reason)
        # No reference cycle may be left: the worker runs without a cyclic collector.
        self._task = self._socket = None
        self._report_end()

    # ── the socket ──────────────────────────────────────────────────────────────────────────────────────────

    def opened(self) -> None:
        """See `SocketOwner`."""
        assert self._socket is not None
        if self.capture is not None:
            self.capture.note("open")
        if self.stream.opened(self._sink(self._socket), asyncio.get_running_loop().time()):
            self._on_fact(StreamOpened())
        else:
            self._log().info("stream_reconnected")

    def disconnected(self, gone: Disconnect) -> None:
        """See `SocketOwner`."""
        if self.capture is not None:
            self.capture.note("lost", reason=gone.detail)
        attempt_at = self.stream.disconnected(gone, asyncio.get_running_loop().time())
        if attempt_at is not None:
            self._attempt_at = attempt_at
            if self.stream.failed_attempts <= 1:  # once per outage
                self._log().warning("stream_reconnecting", reason=gone.detail)

    def send_buffer_full(self) -> None:
        """See `SocketOwner`."""
        self._log().warning("stream_frames_dropped", reason="the app does not read")
