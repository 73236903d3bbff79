"""The whole product under the load generator: `trunkline serve`, a real SIP call for each leg, a REST request for each
stream. Used by `bench.py`.
"""

import asyncio
import os
import secrets
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from trunkline.demo.server import ServerProcess
from trunkline.demo.uac import Address, UacState, UserAgentClient, audio_offer, media_address

HOST = "127.0.0.1"
AT_ONCE = 20
"""Calls being set up, and streams being started, at the same time."""
SPARE_PORTS = 64
"""For those that others hold; each of several workers has ports for all legs."""
LISTENER_WAIT = 60.0
"""Seconds for all calls to be up."""


class Invalid(Exception):
    """A run that says nothing, and why."""


@dataclass(frozen=True)
class Processes:
    """What `/proc` says of some processes, all their threads together."""

    cpu: float
    """Seconds."""
    waited: float
    """Seconds for a core, ready to run."""
    rss: int
    """Kilobytes."""


def processes(pids: list[int]) -> Processes:
    """As they are now."""
    cpu, waited, rss = 0.0, 0.0, 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            ran, ready, _ = map(int, (task / "schedstat").read_text().split())
            cpu, waited = cpu + ran / 1e9, waited + ready / 1e9
        status = Path(f"/proc/{pid}/status").read_text()
        rss += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return Processes(cpu, waited, rss)


class Callers(asyncio.DatagramProtocol):
    """SIP calls over one socket, all with the load generator's RTP address in their offers."""

    def __init__(self, target: Address, offer: str) -> None:
        self._target, self._offer = target, offer
        self._calls: dict[str, UserAgentClient] = {}
        self._settled = asyncio.Event()

    async def __aenter__(self) -> "Callers":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind((HOST, 0))
        self._local = (HOST, sock.getsockname()[1])
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Each message goes to its call."""
        marker = data.find(b"Call-ID: ") + len("Call-ID: ")
        call = self._calls.get(data[marker : data.find(b"@", marker)].decode())
        if call is not None:
            call.receive(data, time.monotonic())
            self._flush(call)
            self._settled.set()

    def _flush(self, call: UserAgentClient) -> None:
        for datagram in call.to_send():
            self._transport.sendto(datagram, self._target)

    async def place(self, count: int) -> list[UserAgentClient]:
        """So many calls, `AT_ONCE` under way at any time. Raises Invalid when one fails."""
        calls: list[UserAgentClient] = []
        async with asyncio.timeout(LISTENER_WAIT):
            while True:
                pending = [call for call in calls if call.state is not UacState.UP]
                if any(call.state is UacState.ENDED for call in pending):
                    raise Invalid(f"a call failed: {next(c.failure for c in pending if c.state is UacState.ENDED)}")
                if len(calls) == count and not pending:
                    return calls
                while len(calls) < count and len(pending) < AT_ONCE:
                    token = secrets.token_hex(8)
                    call = UserAgentClient(self._local, self._target, "+13125550100", "+1312", self._offer, token)
                    self._calls[token] = call
                    calls.append(call)
                    pending.append(call)
                    call.invite(time.monotonic())
                    self._flush(call)
                self._settled.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._settled.wait(), 0.1)
                for call in pending:
                    call.handle_timer(time.monotonic())
                    self._flush(call)


def _pin(pid: int, cores: set[int]) -> None:
    """All threads of a process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # a thread that has ended meanwhile
            os.sched_setaffinity(int(task.name), cores)


def _children(parents: list[int], command: bytes) -> list[int]:
    """Those that run this command."""
    files = [file for parent in parents for file in Path(f"/proc/{parent}/task").glob("*/children")]
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    return [pid for pid in pids if command in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def started(client: httpx.AsyncClient, call_sid: str, fields: dict[str, str]) -> str:
    """Start a stream; its sid. Raises Invalid when it is refused."""
    answer = await client.post(f"/Calls/{call_sid}/Streams.json", data=fields)
    if answer.status_code != 200:
        raise Invalid(f"a stream was refused: {answer.text}")
    sid: str = answer.json()["sid"]
    return sid


class Product:
    """One server with `legs` calls; the streams come when `stream` is asked for."""

    def __init__(self, directory: Path, legs: int, settings: dict[str, str | int | float]) -> None:
        self._legs = legs
        self._server = ServerProcess(
            directory,
            account_sid=str(uuid.uuid4()),
            api_key=secrets.token_urlsafe(24),
            media_ports=(4 if int(settings.get("media.workers", 1)) > 1 else 2) * legs + SPARE_PORTS,
            settings={
                "media.workers": 1,
                "media.silence_timeout": 0,
                "http.rate_limit": 0,
                "log.level": "warning",
                **settings,
            },
        )
        self.call_sids: list[str] = []
        self.dests: list[str] = []
        """Where each leg's RTP goes, as the answers said."""
        self.calls_per_second = self.streams_per_second = 0.0

    async def start(self, rtp: Address, codec: tuple[int, str], cpu: int) -> None:
        """The server, its first worker on that core, the others on those after it, and all calls up."""
        await self._server.start()
        cores = sorted(os.sched_getaffinity(0))
        for number, pid in enumerate(self.workers):
            _pin(pid, {cores[(cpu + number) % len(cores)]})
        number, name = codec
        offer = audio_offer(rtp).replace("AVP 0 ", f"AVP {number} ").replace("rtpmap:0 PCMU", f"rtpmap:{number} {name}")
        async with Callers(self._server.sip_address, offer) as callers:
            began = time.monotonic()
            calls = await callers.place(self._legs)
            self.calls_per_second = self._legs / (time.monotonic() - began)
        for call in calls:
            assert call.answer is not None
            self.call_sids.append(call.answer.header("x-trunkline-call-sid"))
            host, port = media_address(call.answer.body) or ("", 0)
            self.dests.append(f"{host}:{port}")

    @contextmanager
    def apart(self) -> Iterator[None]:
        """The control process and this one keep off the workers' cores meanwhile, if there are others."""
        everywhere = os.sched_getaffinity(0)
        taken = set[int]().union(*(os.sched_getaffinity(pid) for pid in self.workers))
        for pid in (*self.control, os.getpid()):
            _pin(pid, everywhere - taken or everywhere)
        try:
            yield
        finally:
            _pin(os.getpid(), everywhere)

    def client(self) -> httpx.AsyncClient:
        """Of the API, with paths from the account on."""
        account = f"{self._server.base_url}/texml/Accounts/{self._server.account_sid}"
        headers = {"Authorization": f"Bearer {self._server.api_key}"}
        return httpx.AsyncClient(base_url=account, timeout=30, headers=headers)

    async def stream(self, url: str, fields: dict[str, str], call_sids: Sequence[str] | None = None) -> None:
        """A stream of each of these calls, or of all, by REST."""
        sids = self.call_sids if call_sids is None else call_sids
        gate = asyncio.Semaphore(AT_ONCE)
        async with self.client() as client:

            async def one(sid: str) -> None:
                async with gate:
                    await started(client, sid, {"Url": url, **fields})

            began = time.monotonic()
            await asyncio.gather(*(one(sid) for sid in sids))
            self.streams_per_second = len(sids) / (time.monotonic() - began)

    @property
    def control(self) -> list[int]:
        """The control process."""
        return [self._server.process.pid]

    @property
    def workers(self) -> list[int]:
        """The media workers, without their mp3 decoders."""
        return _children(self.control, b"trunkline.workers\0worker")

    @property
    def decoders(self) -> list[int]:
        """The workers' decoder processes."""
        return _children(self.workers, b"trunkline.workers\0decoder")

    async def stop(self) -> None:
        """The server ends its calls itself."""
        await self._server.stop_if_started()
