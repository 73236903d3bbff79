"""A phone call from this process: SIP and RTP over UDP, with PCM in and out (driver).

    async with PhoneCall("sip:+13125550123@127.0.0.1:5060") as call:
        await call.wait_answered()
        call.play(pcm)
        async for frame in call.frames():
            ...

`PhoneCall` is the driver of `PhoneCore`: three sockets and one timer, all on the loop that it is entered on. Packets
leave by one steady clock; a late tick sends what is due and does not shift the rest.
"""

import asyncio
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from trunkline.media.leg import RANDOM_BYTES
from trunkline.media.report import LegReport
from trunkline.phone.core import PhoneCore, PhoneState
from trunkline.phone.line import ImpairedLine
from trunkline.phone.values import (
    CallOver,
    CallPlan,
    CallRefused,
    CallUnreachable,
    HeardFrame,
    Impairments,
    OutgoingDatagram,
    PhoneError,
    PhoneEvent,
)
from trunkline.portable import drop_errors, keep_errors
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import parse_uri
from trunkline.sip.values import Credentials

ANSWER_TIMEOUT = 60.0
"""Seconds until a call that is not answered counts as failed."""
SETTLE_TIME = 2.0
"""Seconds to wait for the response to BYE or CANCEL."""
RATE = 16000
"""Samples per second of PCM, unless said otherwise."""
PORT_TRIES = 50
"""Pairs of ports that are tried."""
NO_FAULTS = Impairments()


class _PhoneSocket(asyncio.DatagramProtocol):
    """Hands datagrams to a function, and errors of the network to another."""

    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None], failed: Callable[[str], None]) -> None:
        self._receive = receive
        self._failed = failed

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._receive(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        self._failed(exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc))


class PhoneCall:
    """One call. Entering it opens the sockets and sends the INVITE; leaving it hangs up. Raises PhoneError."""

    def __init__(
        self,
        uri: str,
        *,
        user: str = "phone",
        credentials: Credentials | None = None,
        codecs: Sequence[str] = ("PCMU", "PCMA", "G722"),
        ptime: int | None = None,
        rate: int = RATE,
        headers: Sequence[tuple[str, str]] = (),
        impairments: Impairments = NO_FAULTS,
        drift_ppm: float = 0.0,
        seed: int | None = None,
        keep: bool = True,
        on_event: Callable[[PhoneEvent], None] | None = None,
    ) -> None:
        """`uri`: a SIP URI with a host, which is called over UDP. `rate`: of all PCM. `seed`: of the impairments; the
        same one gives the same faults. `keep`: keep what is heard, for `recording`. `on_event` gets each event at once;
        it must not raise. Other arguments: see `CallPlan`. Raises PhoneError for a bad URI."""
        self._arguments = (user, credentials, tuple(codecs), ptime, rate, drift_ppm, tuple(headers))
        self._uri = uri
        try:
            self._address = parse_uri(uri)
        except (ValueError, LookupError) as error:
            raise PhoneError(f"{uri} is not a SIP URI: {error.args[0]}") from None
        if self._address.scheme != "sip" or not self._address.host:
            raise PhoneError(f"{uri} is not of the form sip:user@host")
        self._line = ImpairedLine(impairments, random.Random(seed).random)
        self._keep = keep
        self._on_event = on_event
        self._reported = 0
        self._hung_up = False
        self._core: PhoneCore | None = None
        self._sockets: dict[str, asyncio.DatagramTransport] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        target = await self._resolve()
        try:
            await self._open(target)
            self.core.place(self._loop.time())
            self._after_input()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.hang_up()
        finally:
            self._close()

    async def _resolve(self) -> Endpoint:
        host, port = self._address.host, self._address.port or 5060
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise CallUnreachable(f"{host}: {error.strerror or error}") from None
        return Endpoint(str(found[0][4][0]), port)

    async def _open(self, target: Endpoint) -> None:
        family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target.host, target.port))
                host = probe.getsockname()[0]
            sip = _bound(family, host, 0)
            keep_errors(sip)
            rtp, rtcp = _bound_pair(family, host)
        except OSError as error:
            raise CallUnreachable(f"no socket towards {target}: {error.strerror or error}") from None
        self._sip_socket = sip
        await self._listen("sip", sip, self._sip_received)
        await self._listen("rtp", rtp, self._rtp_received)
        await self._listen("rtcp", rtcp, self._rtcp_received)
        user, credentials, codecs, ptime, rate, drift, headers = self._arguments
        now = self._loop.time()
        self._core = PhoneCore(
            CallPlan(self._uri, target, user, credentials, codecs, ptime, rate, drift, headers),
            Endpoint(host, sip.getsockname()[1]),
            Endpoint(host, rtp.getsockname()[1]),
            tag=lambda: secrets.token_hex(8),
            random=secrets.token_bytes(RANDOM_BYTES),
            now=now,
            wall=time.time() - now,
            line=self._line,
            keep=self._keep,
        )

    async def _listen(self, port: str, sock: socket.socket, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        failed = self._sip_failed if port == "sip" else _ignore
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _PhoneSocket(receive, failed), sock=sock)
        self._sockets[port] = transport

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for transport in self._sockets.values():
            transport.close()

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def core(self) -> PhoneCore:
        """State, measurements and events. Only once entered."""
        if self._core is None:
            raise CallOver("the call has not been placed: use `async with`")
        return self._core

    @property
    def events(self) -> list[PhoneEvent]:
        """What has happened, in order."""
        return self.core.events

    @property
    def is_up(self) -> bool:
        """The call is answered and not over. False before it is placed."""
        return self._core is not None and self._core.state is PhoneState.UP

    @property
    def is_over(self) -> bool:
        """The call has ended, or was refused."""
        return self.core.state is PhoneState.ENDED

    @property
    def call_sid(self) -> str:
        """The `X-Trunkline-Call-Sid` of the 200; empty before it and without it."""
        return self.core.call_sid

    @property
    def loop_time(self) -> float:
        """Now, by the clock of the events."""
        return self._loop.time()

    def report(self) -> LegReport | None:
        """Counters of the media, loss, jitter and MOS of both directions; None: there was no media."""
        return self.core.report(self._loop.time())

    async def wait_answered(self, timeout: float = ANSWER_TIMEOUT) -> None:  # noqa: ASYNC109 - becomes PhoneError
        """Wait until the call is up. Raises CallRefused, CallUnreachable."""
        settled = (PhoneState.UP, PhoneState.ENDED)
        if not await self.until(lambda: self.core.state in settled, timeout):
            raise CallUnreachable(f"no answer within {timeout:g} s")
        failure = self.core.failure
        if failure is not None and failure.responded:
            raise CallRefused(failure.status, f"{failure.status} {failure.reason} ({failure.detail})")
        if failure is not None:
            raise CallUnreachable(failure.detail)
        if not self.is_up and not any(event.kind == "answered" for event in self.events):
            raise CallOver(self.events[-1].detail)

    async def wait_over(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - returns, not raises
        """Wait until the call has ended; False: it has not within `timeout` seconds."""
        return await self.until(lambda: self.is_over, timeout)

    async def until(self, holds: Callable[[], bool], timeout: float | None) -> bool:  # noqa: ASYNC109 - returns
        """Wait until `holds()`, which is asked after each input and each packet that leaves; False after `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # ── what the caller does ────────────────────────────────────────────────────────────────────────────────

    def play(self, pcm: bytes, newest_ms: int | None = None) -> None:
        """Say 16-bit little-endian mono PCM of `rate` after what is queued. `newest_ms`: for live audio, the length of
        the queue beyond which its oldest audio is dropped."""
        self.core.audio.play(pcm, newest_ms)

    def stop_playing(self) -> None:
        """Say no more of what is queued."""
        self.core.audio.stop_playing()

    async def wait_played(self) -> None:
        """Wait until all that was queued has been sent, or the call is over."""
        await self.until(lambda: not self.core.audio.queued_ms or self.is_over, None)

    async def frames(self) -> AsyncIterator[HeardFrame]:
        """The other side's audio, a packet at a time, until the call is over. For one reader; one that is slower than
        the audio loses the oldest (`phone.audio.FRAMES_WAITING`)."""
        waiting = self.core.audio.waiting
        while True:
            await self.until(lambda: bool(waiting) or self.is_over, None)
            if not waiting:
                return
            yield waiting.popleft()

    def recording(self) -> bytes:
        """All that was heard since the answer, as PCM on the call's timeline."""
        return self.core.audio.recording()

    def send_digits(self, digits: str) -> None:
        """Press keys: `0`-`9`, `*`, `#`, `A`-`D`, with `w` and `W` for pauses of 0.5 and 1 s. Raises CallOver,
        `media.rtp.dtmf.NoTelephoneEvent` and `TooManyDigits`."""
        self.core.send_digits(digits)

    async def hang_up(self) -> None:
        """End the call, by BYE or CANCEL, and wait until the other side has acknowledged it, `SETTLE_TIME` at most.
        Nothing happens if it is over."""
        if self._core is None or self._hung_up:
            return
        self._hung_up = True
        self._core.hang_up(self._loop.time())
        self._after_input()
        await self.until(lambda: self.core.is_settled, SETTLE_TIME)

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────

    def _sip_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.core.receive_sip(data, Endpoint(*source), self._loop.time())
        self._after_input()

    def _sip_failed(self, reason: str) -> None:
        with suppress(OSError):  # until they are read, the loop is called for them again and again
            drop_errors(self._sip_socket)
        if self._core is not None:
            self._core.sip_failed(reason, self._loop.time())
            self._after_input()

    def _rtp_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.core.receive_rtp(data, source, self._loop.time())
        self._after_input()

    def _rtcp_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.core.receive_rtcp(data, source, self._loop.time())

    def _run_timers(self) -> None:
        self._timer = None
        self.core.handle_timer(self._loop.time())
        self._after_input()

    def _after_input(self) -> None:
        """Send what is to be sent, report what happened, and set the timer."""
        core = self.core
        for datagram in core.to_send():
            self._send(datagram)
        while self._reported < len(core.events):
            event = core.events[self._reported]
            self._reported += 1
            if self._on_event is not None:
                self._on_event(event)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = core.deadline
        if deadline is not None and not next(iter(self._sockets.values())).is_closing():
            self._timer = self._loop.call_at(deadline, self._run_timers)

    def _send(self, datagram: OutgoingDatagram) -> None:
        transport = self._sockets[datagram.port]
        if not transport.is_closing():
            transport.sendto(datagram.data, datagram.to)


def _ignore(_: str) -> None:
    """Errors of RTP show as audio that does not come."""


def _bound(family: int, host: str, port: int) -> socket.socket:
    """A UDP socket that is bound there. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_pair(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    """An even port for RTP and the next one for RTCP (RFC 3550 section 11). Raises OSError."""
    for _ in range(PORT_TRIES):
        rtp = _bound(family, host, 0)
        port = rtp.getsockname()[1]
        if port % 2 == 0 and port < 65535:
            try:
                return rtp, _bound(family, host, port + 1)
            except OSError:
                pass  # taken: try another pair
        rtp.close()
    raise OSError(f"no two neighbouring free ports at {host}")
