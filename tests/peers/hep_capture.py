"""Kamailio as a capture server: its module sipcapture decodes HEP3 packets and logs their chunks."""

import asyncio
import contextlib
import socket
import tempfile
from pathlib import Path
from typing import Self

from peers.kamailio import OPTIONS
from trunkline.demo.server import free_ports
from trunkline.demo.watch import Watch

CHUNKS = ("version", *(f"0x{number:03x}" for number in (*range(1, 13), 14)))
"""Of Kamailio's `$hep`: version, family, protocol, addresses, ports, time, type, capture id, authenticate key."""
_CONFIG = """
log_stderror=yes
fork=no
children=1
disable_tcp=yes
listen=udp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules:/usr/lib/kamailio/modules"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "db_text.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "text://{directory}")
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "nonsip_hook", 1)
event_route[sipcapture:request] {{ xlog("L_ALERT", "chunks|{chunks}|$hep(0x00f)\\n"); return 1; }}
request_route {{ xlog("L_ALERT", "ready\\n"); drop; }}
"""


class HepCapture:
    """Use as an async context manager."""

    def __init__(self) -> None:
        self.port = free_ports(2)
        self.packets: list[list[str]] = []
        """Of each its chunks as in `CHUNKS`, then the first line of its message."""
        self.text = ""
        """All that was logged, whole messages with it."""
        self.watch = Watch()
        self._ready = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="sipcapture-")
        directory = Path(self._directory.name)
        (directory / "version").write_text("table_name(string) table_version(int)\nsip_capture:4\n")
        chunks = "|".join(f"$hep({name})" for name in CHUNKS)
        file = directory / "kamailio.cfg"
        file.write_text(_CONFIG.format(port=self.port, directory=directory, chunks=chunks))
        self._process = await asyncio.create_subprocess_exec(
            *("kamailio", "-f", str(file), "-Y", str(directory), "-DD", "-E", "-m", "32", "-M", "8"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            async with asyncio.timeout(60):
                while not self._ready.is_set():
                    asking.sendto(OPTIONS.format(port=9).encode(), ("127.0.0.1", self.port))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._ready.wait(), 0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        await self._reading
        self._directory.cleanup()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace")
            self.text += text
            if "ready" in text:
                self._ready.set()
            if "chunks|" in text:
                self.packets.append(text.strip().partition("chunks|")[2].split("|"))
            self.watch.changed()
