"""The server under watch: `trunkline serve` as a child process, on free ports, with a directory of its own."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import randrange
from typing import Protocol

from trunkline.demo.errors import ServerFailed

_POLL = 0.05
"""Seconds between looks at /readyz."""

_PORTS = range(10240, 32000)
_START = randrange(_PORTS.start, _PORTS.stop, 2)
_even_ports: Iterator[int] = itertools.cycle((*range(_START, _PORTS.stop, 2), *range(_PORTS.start, _START, 2)))
"""From anywhere on, so that two processes do not take the same."""


def free_ports(count: int, host: str = "127.0.0.1") -> int:
    """The first, even, of `count` neighbouring ports that are free for UDP and TCP. Raises ServerFailed.

    They lie below the range from which the kernel takes ports for outgoing connections, and this process is given all
    others before it is given them again, so that they stay free.
    """
    for _ in _PORTS:
        first = next(_even_ports)
        ports = range(first, first + count)
        if ports.stop <= _PORTS.stop and all(_is_free(host, port) for port in ports):
            for _ in ports[2::2]:
                next(_even_ports)
            return first
    raise ServerFailed(f"no {count} neighbouring ports are free on {host}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


class ChildProcess(Protocol):
    """What is used of `asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """None: it runs."""

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError."""

    def kill(self) -> None:
        """Likewise."""

    async def wait(self) -> int:
        """Its return code, once it has ended."""


class ServerProcess:
    """One `trunkline serve`. `settings` go in as flags, by their dotted names, on top of the ports. `output` is the
    descriptor that takes its output, instead of `log_file`; `wrapper` a command before it."""

    def __init__(
        self,
        directory: Path,
        *,
        account_sid: str,
        api_key: str,
        host: str = "127.0.0.1",
        media_ports: int = 20,
        settings: Mapping[str, str | int | float] | None = None,
        output: int | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self._output, self._wrapper = output, wrapper
        self.account_sid, self.api_key = account_sid, api_key
        self.host = host
        self.http_port = free_ports(2 + media_ports, host)
        self.sip_port = self.http_port + 1
        self.log_file = directory / "server.log"
        self._directory = directory
        self._settings: dict[str, str | int | float] = {
            "http.host": "127.0.0.1",
            "http.port": self.http_port,
            "sip.host": host,
            "sip.port": self.sip_port,
            "sip.tls_port": 0,
            "media.host": host,
            "media.port_min": self.http_port + 2,
            "media.port_max": self.http_port + 1 + media_ports,
            "store.directory": str(directory),
            "drain.timeout": 0,
            "media.spare_worker": "false",
            **(settings or {}),
        }
        self._process: ChildProcess | None = None

    @property
    def base_url(self) -> str:
        """Of the API, as the SDKs want it."""
        scheme = "https" if "http.tls_certificate_file" in self._settings else "http"
        return f"{scheme}://127.0.0.1:{self.http_port}/v2"

    @property
    def sip_address(self) -> tuple[str, int]:
        """Where it takes calls."""
        return self.host, self.sip_port

    def setting(self, name: str) -> str | int | float:
        """A setting that it was given, by its dotted name."""
        return self._settings[name]

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def process(self) -> ChildProcess:
        """The child; it must have been started."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    async def start(self, timeout: float = 60) -> None:  # noqa: ASYNC109 - becomes ServerFailed
        """Start and wait until it is ready. Raises ServerFailed."""
        flags = [part for name, value in self._settings.items() for part in (f"--{name}", str(value))]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
        with self.log_file.open("ab") as log:
            account = {"TRUNKLINE_ACCOUNT_SID": self.account_sid, "TRUNKLINE_API_KEY": self.api_key}
            output = log.fileno() if self._output is None else self._output
            self._process = await self._launch(["serve", *flags], inherited | account, output)
        try:
            await asyncio.wait_for(self._ready(), timeout)
        except TimeoutError:
            await self.stop()
            raise ServerFailed(f"not ready within {timeout:g} s\n{self._log_end()}") from None

    async def _launch(self, arguments: list[str], environment: dict[str, str], output: int) -> ChildProcess:
        """`trunkline` with these arguments, in its directory."""
        return await asyncio.create_subprocess_exec(
            *self._wrapper,
            sys.executable,
            "-m",
            "trunkline",
            *arguments,
            cwd=self._directory,  # not where a trunkline.toml may lie
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C is for us; we end the server ourselves
        )

    async def _ready(self) -> None:
        import httpx  # not for who wants `free_ports` alone

        url = self.base_url.removesuffix("/v2") + "/readyz"
        async with httpx.AsyncClient(timeout=2, verify=False) as client:  # no secret is sent
            while self.process.returncode is None:
                try:
                    if (await client.get(url)).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                await asyncio.sleep(_POLL)
        raise ServerFailed(f"exited with code {self.process.returncode}\n{self._log_end()}")

    def _log_end(self) -> str:
        return "\n".join(self.log.splitlines()[-20:])

    async def stop(self, timeout: float = 30) -> int:  # noqa: ASYNC109 - ends in SIGKILL
        """Ask it to end and wait; its exit code. After `timeout` it is killed, and the code is -9."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), timeout)
        except TimeoutError:
            return await self.kill()

    async def stop_if_started(self) -> None:
        """For cleaning up."""
        if self._process is not None:
            await self.stop()

    async def kill(self) -> int:
        """End it without warning."""
        if self.process.returncode is None:
            self.process.kill()
        return await self.process.wait()

    async def public_key(self) -> str:
        """The key of its callbacks' signatures, base64. Raises ServerFailed."""
        import httpx

        async with httpx.AsyncClient(timeout=5, headers={"Authorization": f"Bearer {self.api_key}"}) as client:
            try:
                response = await client.get(f"{self.base_url}/public_key")
                response.raise_for_status()
                return str(response.json()["data"]["public"])
            except (httpx.HTTPError, ValueError, KeyError) as error:
                raise ServerFailed(f"no public key: {error!r}\n{self._log_end()}") from error
