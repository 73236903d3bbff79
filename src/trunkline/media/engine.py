"""The media driver: UDP sockets, one epoll set, one clock. The packet path of every leg of a worker starts here.

Receiving: all sockets are in an epoll set of our own, which is read once per slot of the clock: a packet waits 2.5 ms
on average, and the loop is not woken for each. A batch is read before any of it is handled, as sent packets are made
before any of them is sent: the processor's caches then serve one thing after the other (docs/performance.md). A leg's
RTP socket is connected once it is latched, so that the kernel filters and `recv` and `send` need no addresses;
until then datagrams come with theirs and the leg decides.

Sending: the clock is a grid of 5 ms slots. A leg sits in the slot when its next packet is due and then moves on by its
packet time, so legs spread over the slots. A late tick runs the slots that it missed, one after another; after a stall
of more than `STALL` most are skipped instead, for all legs alike, and their timelines jump ahead. A tick that is later
than `HELD_UP` first takes in what has come meanwhile, from peers and from apps, so that what it missed is made up for
with what it would have sent; and it tells whoever plays (`LegTap.held_up`).

Exceptions are the exception: `try` costs nothing while nothing is raised. A port that raises is detached and reported.
"""

import asyncio
import ctypes
import errno
import secrets
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from trunkline import sockets, speedups
from trunkline.config import MediaSettings
from trunkline.errors import TrunklineError
from trunkline.ids import LegId, Seconds
from trunkline.media.bridge.bridge import BridgeSink, BridgeSource
from trunkline.media.bridge.buffer import BridgeBuffer
from trunkline.media.events import MediaEvent, TapFailed
from trunkline.media.frames import LegTap
from trunkline.media.leg import RANDOM_BYTES, SILENT, Leg, TooManyPlayers
from trunkline.media.report import LegReport
from trunkline.media.rtp.ports import NoPorts, PortPool
from trunkline.sdp.values import MediaParams

_log = structlog.get_logger()

SLOT_MS = 5
SLOT = SLOT_MS / 1000
RING = 16
"""Slots: more than the longest packet time (60 ms) takes."""

STALL = 0.2
"""Seconds behind the clock from which packets are skipped; up to here a late tick sends them all at once."""

STRIDE = 24
"""Slots that are skipped together, which are whole packets of 10, 20, 30, 40 and 60 ms: packets stay where they are on
the clock."""

HELD_UP = 0.04
"""Seconds behind the clock from which a tick takes in first what has come."""

LET_IN = 0.001
"""Seconds that it leaves the loop for that."""

BATCH = 32
"""Sockets read at once. Between two batches the clock is looked at, so that a flood leaves time for sending."""

LATE = 0.02
"""Seconds since the last reading after which there is another round for each of them: while something keeps the loop
from us for longer than a packet time, again and again, one packet a turn would never catch up."""

ROUNDS = 64
"""Rounds at most."""

QUEUED_LIMIT = 256
"""Datagrams from before `connect` that are read with their addresses when a source is latched."""

RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""The option that has ICMP errors told on a socket that is not connected (ip(7), ipv6(7)); `socket` has no names."""

PORT_TRIES = 50
"""Ports tried when others on the machine hold some of ours."""

_now = time.monotonic
_libc = ctypes.CDLL(None, use_errno=True)


class UnknownLeg(TrunklineError):
    """No such leg, or it has been closed."""


class _Rtcp(NamedTuple):
    """What came on the RTCP port."""

    datagram: bytes
    address: tuple[Any, ...]


_Datagram = bytes | tuple[bytes, tuple[Any, ...]] | _Rtcp
"""What came on the RTP port, with its address while the leg is not latched, or on the RTCP port."""


class RtpTransport:
    """A leg and its sockets."""

    __slots__ = ("_connected", "_fd", "_rtcp", "_rtp", "leg", "open", "port")

    def __init__(self, leg: Leg, port: int, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.leg = leg
        self.port = port
        self.open = True
        self._connected = False
        self._rtp = rtp
        self._fd = rtp.fileno()
        self._rtcp = rtcp

    def filenos(self) -> tuple[int, int]:
        """Of the RTP and the RTCP socket."""
        return self._rtp.fileno(), self._rtcp.fileno()

    def read(self, fd: int) -> _Datagram:
        """A datagram of this socket. Raises OSError, BlockingIOError when there is none."""
        if fd != self._fd:
            return _Rtcp(*self._rtcp.recvfrom(speedups.DATAGRAM_LIMIT))
        return sockets.receive(fd) if self._connected else self._rtp.recvfrom(speedups.DATAGRAM_LIMIT)

    def handle(self, got: _Datagram, now: Seconds) -> None:
        """What was read."""
        if isinstance(got, bytes):
            self.leg.receive(got, now)
        elif isinstance(got, _Rtcp):
            self.leg.receive_rtcp(got.datagram, got.address[:2], now)
        else:
            self._receive_unlatched(*got, now)

    def _receive_unlatched(self, datagram: bytes, address: tuple[Any, ...], now: Seconds) -> None:
        """A datagram from somewhere, while the leg is not latched."""
        self.leg.receive_from(datagram, address[:2], now)
        # Who is let in again by `unlatch_if_silent` stays until the peer is back.
        if self.leg.latched and address[:2] == self.leg.source.learned:
            self._latch(now)

    def _latch(self, now: Seconds) -> None:
        learned = self.leg.source.learned
        if learned is None or self._connected:
            return
        try:
            self._rtp.connect(learned)
        except OSError:
            self.leg.send_errors += 1  # no route: it stays unconnected, and the next packet tries again
            return
        self._rtp.setsockopt(*RECVERR[self._rtp.family], 0)
        # What came before the kernel began to filter may still be anybody's.
        for _ in range(QUEUED_LIMIT):
            try:
                datagram, address = self._rtp.recvfrom(speedups.DATAGRAM_LIMIT)
            except BlockingIOError:
                break
            except OSError:
                self.leg.receive_errors += 1
                continue
            self.leg.receive_from(datagram, address[:2], now)
        self._connected = True

    def update(self, params: MediaParams, now: Seconds, *, early: bool) -> None:
        """Renegotiated: the socket follows when learning has begun anew, or has ended by it."""
        self.leg.update(params, now, early=early)
        if self.leg.latched:
            self._latch(now)
        elif self._connected:
            self._unlatch()

    def unlatch_if_silent(self, now: Seconds) -> None:
        """A peer that has gone silent may send from elsewhere by now: have the kernel let all in again, to be judged,
        until the peer is back."""
        heard = self.leg.inbound.heard
        if self._connected and heard is not None and now - heard > SILENT:
            self._unlatch()

    def _unlatch(self) -> None:
        _disconnect(self._rtp)
        self._rtp.setsockopt(*RECVERR[self._rtp.family], 1)
        self._connected = False

    def clear_errors(self) -> None:
        """Take what else ICMP said of our packets from a socket that is not connected: until then it is never idle."""
        with suppress(OSError):
            while True:
                self._rtp.recvmsg(0, 0, socket.MSG_ERRQUEUE)

    def send(self, packet: bytes) -> None:
        """Send RTP to the peer, or to where the leg thinks that it is. Raises OSError."""
        if self._connected:
            sockets.send(self._fd, packet)
        elif (destination := self.leg.source.destination) is not None:
            self._rtp.sendto(packet, destination)

    def send_rtcp(self, packet: bytes) -> None:
        """Send RTCP. Raises OSError."""
        if self.leg.rtcp_mux:
            self.send(packet)
            return
        destination = self.leg.rtcp_destination
        if destination is not None:
            self._rtcp.sendto(packet, destination)

    def close(self) -> None:
        """Close the sockets."""
        self.open = self._connected = False
        self._rtp.close()
        self._rtcp.close()


def _disconnect(sock: socket.socket) -> None:
    """Dissolve a UDP socket's association (connect(2)): an address of family AF_UNSPEC, which `socket` cannot say."""
    _libc.connect(sock.fileno(), bytes(16), 16)


class Engine:
    """All legs of one media worker. Everything is called from the loop's thread."""

    def __init__(
        self,
        settings: MediaSettings,
        ports: range,
        on_event: Callable[[MediaEvent], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`ports`: this worker's share of the RTP range. `on_event` must not raise."""
        self._settings = settings
        self._on_event = on_event
        self._loop = loop
        self._pool = PortPool(ports, Seconds(settings.port_rest))
        self._family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._transports: dict[LegId, RtpTransport] = {}
        self._bridges: dict[LegId, list[tuple[LegId, LegTap]]] = {}
        self._readers: dict[int, RtpTransport] = {}
        self._waiting: set[LegId] = set()
        self._ring: list[list[RtpTransport]] = [[] for _ in range(RING)]
        self._slot = 0
        self._due = 0.0
        self._drained = 0.0
        self._letting_in = False
        self._wall = 0.0
        self._epoll = select.epoll()
        self._timer: asyncio.TimerHandle | None = None
        self.counters = {"busy_ports": 0, "stalls": 0, "skipped_ms": 0, "tap_failures": 0, "faults": 0}
        """What no leg owns."""

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to receive and to send."""
        self._wall = time.time() - _now()
        self._due = self._drained = _now()
        self._tick()

    def stop(self) -> None:
        """Close every leg with a goodbye, and end for good."""
        for leg in list(self._transports):
            self.close_leg(leg)
        if self._timer is not None:
            self._timer.cancel()
        self._epoll.close()

    # ------------------------------------------------------------------ legs

    def open_leg(self, leg: LegId, params: MediaParams) -> int:
        """Open sockets for a leg; return its RTP port (RTCP's is the one above). Raises NoPorts."""
        now = Seconds(_now())
        port, rtp, rtcp = self._bind_pair(now)
        # The emptiest of the slots that one packet time covers.
        slots = min(max(params.ptime // SLOT_MS, 1), RING - 2)
        ahead = min(range(1, slots + 1), key=lambda n: len(self._ring[(self._slot + n) % RING]))
        made = Leg(
            leg,
            params,
            self._settings,
            random=secrets.token_bytes(RANDOM_BYTES),
            now=now,
            wall=self._wall,
            waiting=self._waiting,
            local_port=port,
            first_at=max(0, round((self._due - now) * 1000) + ahead * SLOT_MS),
        )
        transport = RtpTransport(made, port, rtp, rtcp)
        self._transports[leg] = transport
        self._ring[(self._slot + ahead) % RING].append(transport)
        for fd in transport.filenos():
            self._readers[fd] = transport
            self._epoll.register(fd, select.EPOLLIN)
        return port

    def _bind_pair(self, now: Seconds) -> tuple[int, socket.socket, socket.socket]:
        refused = ""
        for _ in range(PORT_TRIES):
            port = self._pool.take(now)
            rtp: socket.socket | None = None
            try:
                rtp = self._socket(port)
                return port, rtp, self._socket(port + 1)
            except OSError as error:
                if rtp is not None:
                    rtp.close()
                self._pool.give_back(port, now)
                refused = f"{self._settings.host} port {port}: {error.strerror}"
                if error.errno != errno.EADDRINUSE:
                    break
                self.counters["busy_ports"] += 1
        raise NoPorts(f"cannot open an RTP socket: {refused}")

    def _socket(self, port: int) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.bind((self._settings.host, port))
        except OSError:
            sock.close()
            raise
        return sock

    def update_leg(self, leg: LegId, params: MediaParams, *, early: bool = False) -> None:
        """The call was renegotiated: codec, payload types, address, direction, ptime; `early`: by a provisional
        response, so that another's answer may follow. Raises UnknownLeg."""
        transport = self._transport(leg)
        transport.update(params, Seconds(_now()), early=early)

    def close_leg(self, leg: LegId) -> LegReport:
        """Say goodbye, close, and return the last counters. Raises UnknownLeg."""
        transport = self._transport(leg)
        now = Seconds(_now())
        try:
            transport.leg.inbound.close()
        except Exception as error:
            self._fault(transport, error)
        goodbye = transport.leg.close(now)
        if goodbye is not None:
            self._send_rtcp(transport, goodbye)
        self.unbridge(leg)
        del self._transports[leg]
        for fd in transport.filenos():
            del self._readers[fd]
        transport.close()
        self._pool.give_back(transport.port, now)
        return transport.leg.report(now)

    def attach(self, leg: LegId, tap: LegTap) -> None:
        """Connect a tap to a leg. Raises UnknownLeg, TooManyPlayers."""
        self._transport(leg).leg.attach(tap)

    def detach(self, leg: LegId, tap: LegTap) -> None:
        """Disconnect a tap; nothing happens when it, or the leg, is gone."""
        if leg in self._transports:
            self._transports[leg].leg.detach(tap)

    def taps_changed(self, leg: LegId) -> None:
        """A connected tap has changed its `inbound`, `outbound` or `plays`. Raises UnknownLeg."""
        self._transport(leg).leg.taps_changed()

    def on_dtmf(self, leg: LegId, digit: str) -> None:
        """The peer pressed a key, and signalling tells it; one that was heard already is not told again. Raises
        UnknownLeg."""
        transport = self._transport(leg)
        try:
            transport.leg.inbound.signalled(digit, Seconds(_now()))
        except Exception as error:
            self._fault(transport, error)

    def send_digits(self, leg: LegId, digits: str) -> None:
        """Press keys towards the peer. Raises UnknownLeg, NoTelephoneEvent, TooManyDigits."""
        self._transport(leg).leg.outbound.send_dtmf(digits)

    def bridge(self, one: LegId, other: LegId) -> None:
        """Let two legs hear each other, instead of whom they heard before, until `unbridge` or until either closes.
        Keys go over the bridge too. Raises UnknownLeg, TooManyPlayers."""
        transports = self._transport(one), self._transport(other)
        self.unbridge(one)
        self.unbridge(other)
        try:
            for speaker, listener in (transports, transports[::-1]):
                buffer = BridgeBuffer()
                source = BridgeSource(buffer, listener.leg.outbound.relay_dtmf)
                for leg, tap in ((listener.leg, BridgeSink(buffer)), (speaker.leg, source)):
                    leg.attach(tap)
                    self._bridges.setdefault(one, []).append((leg.id, tap))
        except TooManyPlayers:
            self.unbridge(one)
            raise

    def unbridge(self, leg: LegId) -> None:
        """Part a leg from those it is bridged with; nothing happens when there are none."""
        for key in [key for key, ends in self._bridges.items() if any(leg == end for end, _ in ends)]:
            for end, tap in self._bridges.pop(key):
                self.detach(end, tap)

    def bridged_with(self, leg: LegId) -> LegId | None:
        """The leg that one is bridged with."""
        for ends in self._bridges.values():
            legs = {end for end, _ in ends}
            if leg in legs:
                return next(iter(legs - {leg}), None)
        return None

    def unlatch(self, leg: LegId) -> None:
        """Somebody will ask for a report: see who else sends, if the peer does not. Raises UnknownLeg."""
        self._transport(leg).unlatch_if_silent(Seconds(_now()))

    def report(self, leg: LegId) -> LegReport:
        """A leg's counters as they are. Raises UnknownLeg."""
        return self._transport(leg).leg.report(Seconds(_now()))

    def _transport(self, leg: LegId) -> RtpTransport:
        transport = self._transports.get(leg)
        if transport is None:
            raise UnknownLeg(f"no leg {leg}")
        return transport

    # ------------------------------------------------------------------ the packet path

    def _tick(self) -> None:
        """Once per slot: send what is due, so that it leaves on time, and read what has come."""
        now = _now()
        self._letting_in = now - self._due > HELD_UP and not self._letting_in
        try:
            if not self._letting_in:
                self._advance(now)
            self._drain()
        finally:
            wait = LET_IN if self._letting_in else max(0.0, self._due - _now())
            self._timer = self._loop.call_later(wait, self._tick)

    def _drain(self) -> None:
        """Read one datagram of each socket that has some; more of them when the last time is long ago."""
        now = _now()
        rounds = 1 + min(int((now - self._drained) / LATE), ROUNDS - 1)
        self._drained = now
        batches = rounds * (1 + len(self._readers) // BATCH)
        while batches and (got := self._drain_batch(Seconds(now))):
            if rounds == 1 and got < BATCH:
                break
            batches -= 1
            now = _now()
            if now >= self._due and not self._letting_in:
                self._advance(now)

    def _drain_batch(self, now: Seconds) -> int:
        """Read one datagram of each of `BATCH` sockets that have some; how many these were."""
        readers = self._readers
        ready = sockets.epoll_ready(self._epoll, BATCH)
        batch = []
        for fd in ready:
            transport = readers[fd]
            try:
                batch.append((transport, transport.read(fd)))
            except BlockingIOError:
                transport.clear_errors()
            except OSError:
                transport.leg.receive_errors += 1
                transport.clear_errors()
        for transport, got in batch:
            if not transport.open:
                continue  # closed by what came before it in this batch
            try:
                transport.handle(got, now)
            except Exception as error:
                self._fault(transport, error)
        return len(ready)

    def _advance(self, now: float) -> None:
        """Run the slots that are due."""
        if now - self._due > HELD_UP:
            self._held_up(now - self._due)
        while self._due <= now:
            slot = self._slot
            self._slot = slot + 1
            self._due += SLOT
            if self._waiting:
                self._run_waiting(Seconds(now))
            self._run_slot(slot, Seconds(now))

    def _held_up(self, behind: float) -> None:
        late = int(behind / SLOT)
        skipped = late // STRIDE * STRIDE if behind > STALL else 0
        self._due += skipped * SLOT
        self.counters["stalls"] += skipped > 0
        self.counters["skipped_ms"] += skipped * SLOT_MS
        for transport in tuple(self._transports.values()):
            try:
                transport.leg.held_up(skipped * SLOT_MS, (late - skipped) * SLOT_MS)
            except Exception as error:
                self._fault(transport, error)

    def _run_slot(self, slot: int, now: Seconds) -> None:
        ring = self._ring
        transports = ring[slot % RING]
        if not transports:
            return
        ring[slot % RING] = []
        packets: list[tuple[RtpTransport, bytes]] = []
        for transport in transports:
            if not transport.open:
                continue
            leg = transport.leg
            outbound = leg.outbound
            ring[(slot + outbound.ptime // SLOT_MS) % RING].append(transport)
            try:
                if leg.deadline <= now:
                    self._serve(transport, now)
                packet = leg.next_packet()
            except Exception as error:
                self._fault(transport, error)
                continue
            if packet is not None:
                packets.append((transport, packet))
        for transport, packet in packets:
            try:
                transport.send(packet)
            except OSError:
                transport.leg.send_errors += 1

    def _run_waiting(self, now: Seconds) -> None:
        for leg in tuple(self._waiting):
            transport = self._transports.get(leg)
            if transport is None:
                continue  # closed by what came before it
            try:
                transport.leg.inbound.handle_waiting(now)
            except Exception as error:
                self._fault(transport, error)

    def _serve(self, transport: RtpTransport, now: Seconds) -> None:
        silent = transport.leg.handle_timer(now)
        transport.unlatch_if_silent(now)
        report = transport.leg.report_due(now)
        if report is not None:
            self._send_rtcp(transport, report)
        if silent is not None:
            self._on_event(silent)

    def _send_rtcp(self, transport: RtpTransport, packet: bytes) -> None:
        try:
            transport.send_rtcp(packet)
        except OSError:
            transport.leg.send_errors += 1

    def _fault(self, transport: RtpTransport, error: Exception) -> None:
        """Something on the packet path raised, which is a fault of ours: take the port that did it off the leg."""
        tap = transport.leg.failed_tap()
        if tap is None:
            self.counters["faults"] += 1
            _log.error("packet path failed", leg=transport.leg.id, error=repr(error))
            return
        self.counters["tap_failures"] += 1
        _log.error("port failed and is detached", leg=transport.leg.id, error=repr(error))
        transport.leg.detach(tap)
        self._on_event(TapFailed(transport.leg.id, tap))
