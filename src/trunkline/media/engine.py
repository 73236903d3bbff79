"""The media driver: UDP sockets, one epoll set, one clock. The packet path of every leg of a worker starts here.

Receiving: all sockets are in one epoll set, which is read once per slot of the clock: a packet waits 2.5 ms on average,
and the loop does not wake for each. A batch is read before any of it is handled, and packets are built before any of
them is sent: the CPU caches then serve one kind of work at a time (docs/performance.md). The RTP socket of a latched
leg is connected, so that the kernel filters and `recv` and `send` need no addresses; until then datagrams come with
their addresses and the leg decides (RFC 7362).

Sending: the clock is a grid of 5 ms slots. A leg is in the slot in which its next packet is due, and then moves on by
its packet time, so legs spread over the slots. A late tick runs the slots that it missed, one after another; after a
stall of more than `STALL` most are skipped, for all legs alike, and their timelines jump ahead. A tick that is later
than `HELD_UP` first receives what has arrived meanwhile, from peers and from apps, so that the missed slots have their
audio; and it calls `LegTap.held_up` of the taps that play.

`try` costs nothing while nothing is raised. A tap that raises is detached and reported.
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
from trunkline.media.lag import Lag
from trunkline.media.leg import RANDOM_BYTES, SILENT, Leg, TooManyPlayers
from trunkline.media.report import LegReport
from trunkline.media.rtp.ports import NoPorts, PortPool
from trunkline.portable import drop_errors, keep_errors, poller
from trunkline.sdp.values import MediaParams

_log = structlog.get_logger()

SLOT_MS = 5
SLOT = SLOT_MS / 1000
RING = 16
"""Slots: more than the longest packet time (60 ms) needs."""

STALL = 0.2
"""Seconds behind the clock above which packets are skipped; below it a late tick sends them all at once."""

STRIDE = 24
"""Slots that are skipped together: whole packets of 10, 20, 30, 40 and 60 ms, so that legs keep their slots."""

HELD_UP = 0.04
"""Seconds behind the clock above which a tick receives before it sends."""

LET_IN = 0.001
"""Seconds that the loop gets for that."""

BATCH = 32
"""Sockets read at once. The clock is checked between two batches, so that a flood leaves time for sending."""

LATE = 0.02
"""Seconds since the last read; each of them adds a round of reading. If the loop is often blocked for longer than a
packet time, one packet per socket and turn would never catch up."""

ROUNDS = 64
"""Most rounds of one turn."""

QUEUED_LIMIT = 256
"""Datagrams queued before `connect` that are read with their addresses when a source is latched."""

PORT_TRIES = 50
"""Ports tried when other programs hold some of ours."""

_now = time.monotonic
_libc = ctypes.CDLL(None, use_errno=True)


class UnknownLeg(TrunklineError):
    """No such leg, or it has been closed."""


class _Rtcp(NamedTuple):
    """A datagram on the RTCP port."""

    datagram: bytes
    address: tuple[Any, ...]


_Datagram = bytes | tuple[bytes, tuple[Any, ...]] | _Rtcp
"""A datagram on the RTP port, with its address while the socket is not connected, or on the RTCP port."""


class RtpTransport:
    """The sockets of one leg: RTP with latching (RFC 7362), and RTCP."""

    __slots__ = {
        "_connected": "The RTP socket is connected (latched): the kernel drops other sources.",
        "_fd": "File descriptor of the RTP socket.",
        "_rtcp": "RTCP socket.",
        "_rtp": "RTP socket.",
        "leg": "The leg that receives and sends here.",
        "open": "False once closed: what is left of a batch for it is dropped.",
        "port": "Our RTP port.",
    }

    def __init__(self, leg: Leg, port: int, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.leg = leg
        self.port = port
        self.open = True
        self._connected = False
        self._rtp = rtp
        self._fd = rtp.fileno()
        self._rtcp = rtcp

    def filenos(self) -> tuple[int, int]:
        """File descriptors of the RTP and the RTCP socket."""
        return self._rtp.fileno(), self._rtcp.fileno()

    def read(self, fd: int) -> _Datagram:
        """Read a datagram of this socket. Raises OSError; BlockingIOError when there is none."""
        if fd != self._fd:
            return _Rtcp(*self._rtcp.recvfrom(speedups.DATAGRAM_LIMIT))
        return sockets.receive(fd) if self._connected else self._rtp.recvfrom(speedups.DATAGRAM_LIMIT)

    def handle(self, got: _Datagram, now: Seconds) -> None:
        """Pass a datagram that `read` returned to the leg."""
        if isinstance(got, bytes):
            self.leg.receive(got, now)
        elif isinstance(got, _Rtcp):
            self.leg.receive_rtcp(got.datagram, got.address[:2], now)
        else:
            self._receive_unlatched(*got, now)

    def _receive_unlatched(self, datagram: bytes, address: tuple[Any, ...], now: Seconds) -> None:
        """Pass a datagram with its address to the leg; connect the socket if that latches it."""
        self.leg.receive_from(datagram, address[:2], now)
        # After `unlatch_if_due` other sources stay admitted until the peer sends again.
        if self.leg.latched and address[:2] == self.leg.source.learned:
            self._latch(now)

    def _latch(self, now: Seconds) -> None:
        learned = self.leg.source.learned
        if learned is None or self._connected:
            return
        try:
            self._rtp.connect(learned)
        except OSError:
            self.leg.send_errors += 1  # no route: the next packet tries again
            return
        keep_errors(self._rtp, False)
        # Datagrams queued before connect() are unfiltered: check their source.
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
        """Apply renegotiated parameters; connect or disconnect the socket as the leg is latched or not."""
        self.leg.update(params, now, early=early)
        if self.leg.latched:
            self._latch(now)
        elif self._connected:
            self._unlatch()

    def unlatch_if_due(self, now: Seconds) -> None:
        """Disconnect the socket, so that the leg decides: if the leg is not latched any more, or if the peer is silent
        and may send from another address by now. The peer's next packet connects it again."""
        heard = self.leg.inbound.heard
        silent = heard is not None and now - heard > SILENT
        if self._connected and (silent or not self.leg.latched):
            self._unlatch()

    def _unlatch(self) -> None:
        _disconnect(self._rtp)
        keep_errors(self._rtp)
        self._connected = False

    def clear_errors(self) -> None:
        """Read the ICMP errors of a socket that is not connected: until then epoll reports it as ready."""
        with suppress(OSError):
            drop_errors(self._rtp)

    def send(self, packet: bytes) -> None:
        """Send RTP to the peer's latched, learned or signalled address. Raises OSError."""
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
    """Dissolve a UDP socket's association by an address of family AF_UNSPEC (connect(2)), which `socket` lacks."""
    _libc.connect(sock.fileno(), bytes(16), 16)


class Engine:
    """All legs of one media worker. Everything is called from the loop's thread."""

    __slots__ = {
        "_bridges": "Legs and taps of each bridge, by the leg that asked for it.",
        "_drained": "When sockets were last read.",
        "_due": "When the next slot is due.",
        "_family": "Address family of the sockets.",
        "_letting_in": "This tick is late and leaves the loop to receive first.",
        "_loop": "The event loop.",
        "_on_event": "Receives the engine's events.",
        "_poller": "The epoll set of all sockets, or what stands in for it.",
        "_pool": "Free RTP ports.",
        "_readers": "The transport of each file descriptor.",
        "_ring": "Transports whose next packet is due in each of the next `RING` slots.",
        "_settings": "Settings of media.",
        "_slot": "Number of the next slot.",
        "_timer": "Timer of the next tick; None: not started.",
        "_transports": "Sockets and leg by the leg's identifier.",
        "_waiting": "Legs whose `inbound.handle_waiting` is to be called.",
        "_wall": "Unix time minus monotonic time, in seconds.",
        "counters": "Counters of the whole engine, by event label.",
        "lag": "Delays of more than `HELD_UP`.",
    }

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
        self.lag = Lag(0.0)
        self._wall = 0.0
        self._poller = poller()
        self._timer: asyncio.TimerHandle | None = None
        self.counters = {"busy_ports": 0, "stalls": 0, "skipped_ms": 0, "tap_failures": 0, "faults": 0}
        """Events of no single leg."""

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Start receiving and sending."""
        self._wall = time.time() - _now()
        self._due = self._drained = _now()
        self.lag = Lag(self._due)
        self._tick()

    def stop(self) -> None:
        """Close every leg with an RTCP BYE; the engine cannot start again."""
        for leg in list(self._transports):
            self.close_leg(leg)
        if self._timer is not None:
            self._timer.cancel()
        self._poller.close()

    # ------------------------------------------------------------------ legs

    def open_leg(self, leg: LegId, params: MediaParams, *, confirmed: bool = True) -> int:
        """Open a leg and its sockets; return its RTP port (RTCP has the next one). `confirmed`: False for a caller
        until `confirm_leg`. Raises NoPorts."""
        now = Seconds(_now())
        port, rtp, rtcp = self._bind_pair(now)
        # The slot with the fewest legs among those of one packet time.
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
            confirmed=confirmed,
        )
        transport = RtpTransport(made, port, rtp, rtcp)
        self._transports[leg] = transport
        self._ring[(self._slot + ahead) % RING].append(transport)
        for fd in transport.filenos():
            self._readers[fd] = transport
            self._poller.register(fd, select.POLLIN)
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

    def confirm_leg(self, leg: LegId) -> None:
        """The caller has our answer: it sent the ACK. Raises UnknownLeg."""
        self._transport(leg).leg.confirm(Seconds(_now()))

    def update_leg(self, leg: LegId, params: MediaParams, *, early: bool = False) -> None:
        """Apply renegotiated parameters: codec, payload types, address, direction, ptime. `early`: of a provisional
        response, so that an answer from another fork may follow. Raises UnknownLeg."""
        transport = self._transport(leg)
        transport.update(params, Seconds(_now()), early=early)

    def close_leg(self, leg: LegId) -> LegReport:
        """Send RTCP BYE, close, and return the final counters. Raises UnknownLeg."""
        transport = self._transport(leg)
        now = Seconds(_now())
        try:
            transport.leg.inbound.close()
        except Exception as error:
            self._fault(transport, error)
        bye = transport.leg.close(now)
        if bye is not None:
            self._send_rtcp(transport, bye)
        self.unbridge(leg)
        del self._transports[leg]
        for fd in transport.filenos():
            del self._readers[fd]
            self._poller.unregister(fd)
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
        """A SIP INFO reported a key press of the peer; one already received as telephone-event is not reported again.
        Raises UnknownLeg."""
        transport = self._transport(leg)
        try:
            transport.leg.inbound.signalled(digit, Seconds(_now()))
        except Exception as error:
            self._fault(transport, error)

    def send_digits(self, leg: LegId, digits: str) -> None:
        """Send key presses to the peer. Raises UnknownLeg, NoTelephoneEvent, TooManyDigits."""
        self._transport(leg).leg.outbound.send_dtmf(digits)

    def bridge(self, one: LegId, other: LegId) -> None:
        """Bridge two legs, instead of their former bridges, until `unbridge` or until either closes. Key presses are
        relayed too. Raises UnknownLeg, TooManyPlayers."""
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
        """End the bridge of a leg, if there is one."""
        for key in [key for key, ends in self._bridges.items() if any(leg == end for end, _ in ends)]:
            for end, tap in self._bridges.pop(key):
                self.detach(end, tap)

    def bridged_with(self, leg: LegId) -> LegId | None:
        """The leg that this one is bridged with; None: no bridge."""
        for ends in self._bridges.values():
            legs = {end for end, _ in ends}
            if leg in legs:
                return next(iter(legs - {leg}), None)
        return None

    def unlatch(self, leg: LegId) -> None:
        """Before a report: accept other sources again if the peer is silent, so that they are counted. Raises
        UnknownLeg."""
        self._transport(leg).unlatch_if_due(Seconds(_now()))

    def report(self, leg: LegId) -> LegReport:
        """Present counters of a leg. Raises UnknownLeg."""
        return self._transport(leg).leg.report(Seconds(_now()))

    def _transport(self, leg: LegId) -> RtpTransport:
        transport = self._transports.get(leg)
        if transport is None:
            raise UnknownLeg(f"no leg {leg}")
        return transport

    # ------------------------------------------------------------------ the packet path

    def _tick(self) -> None:
        """Once per slot: send what is due first, so that it leaves on time, then receive."""
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
        """Read one datagram of each ready socket; more rounds if the last read was long ago."""
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
        """Read one datagram of each of at most `BATCH` ready sockets; return how many these were."""
        readers = self._readers
        ready = sockets.ready(self._poller, BATCH)
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
                continue  # closed by an earlier datagram of this batch
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
        self.lag.held_up(behind)
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
                continue  # closed by an earlier leg's event
            try:
                transport.leg.inbound.handle_waiting(now)
            except Exception as error:
                self._fault(transport, error)

    def _serve(self, transport: RtpTransport, now: Seconds) -> None:
        silent = transport.leg.handle_timer(now)
        transport.unlatch_if_due(now)
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
        """Something on the packet path raised, which is a bug: detach the tap that did it."""
        tap = transport.leg.failed_tap()
        if tap is None:
            self.counters["faults"] += 1
            _log.error("packet_path_failed", leg=transport.leg.id, reason=repr(error))
            return
        self.counters["tap_failures"] += 1
        _log.error("tap_failed", leg=transport.leg.id, reason=repr(error))
        transport.leg.detach(tap)
        self._on_event(TapFailed(transport.leg.id, tap))
