"""Running Kamailio, a SIP proxy: it puts itself into every dialog (Record-Route) and logs what it relays."""

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from trunkline.demo.server import free_ports
from trunkline.demo.watch import Watch

_CONFIG = """
debug=1
log_stderror=yes
fork=no
children=1
disable_tcp=yes
listen=udp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules:/usr/lib/kamailio/modules"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
{modules}
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ exit; }}
    {authentication}
    if (has_totag()) {{
        if (loose_route()) {{
            xlog("L_ALERT", "relayed $rm by route from $sp\\n");
            t_relay();
        }} else if (is_method("ACK") && t_check_trans()) {{
            t_relay();
        }} else {{
            xlog("L_ALERT", "unrouted $rm from $sp\\n");
            if (!is_method("ACK")) {{ sl_send_reply("404", "Not Here"); }}
        }}
        exit;
    }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    record_route();
    xlog("L_ALERT", "relayed $rm from $sp\\n");
    if ($sp == {inside}) {{ $du = "sip:127.0.0.1:{outside}"; }} else {{ $du = "sip:127.0.0.1:{inside}"; }}
    t_relay();
}}
"""

_AUTH_MODULE = """loadmodule "auth.so"
modparam("auth", "algorithm", "{algorithm}")
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")
"""
_AUTHENTICATION = """if ($sp == {inside} && !is_method("ACK|CANCEL")) {{
        if (!pv_{kind}_authenticate("{realm}", "{password}", "0") || $au != "{username}") {{
            xlog("L_ALERT", "challenged $rm\\n");
            {kind}_challenge("{realm}", "1");
            exit;
        }}
        xlog("L_ALERT", "authenticated $rm by $aa\\n");
        consume_credentials();
    }}"""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server must answer before its requests are relayed."""

    kind: Literal["proxy", "www"]
    """407 or 401."""
    algorithm: Literal["MD5", "SHA-256"]
    username: str
    password: str
    realm: str = "kamailio.example"


OPTIONS = """OPTIONS sip:127.0.0.1 SIP/2.0\r
Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKready\r
From: <sip:test@127.0.0.1>;tag=1\r
To: <sip:127.0.0.1>\r
Call-ID: ready\r
CSeq: 1 OPTIONS\r
Max-Forwards: 70\r
Content-Length: 0\r
\r
"""


class _Probe(asyncio.DatagramProtocol):
    def __init__(self, answered: asyncio.Event) -> None:
        self._answered = answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Any answer is enough."""
        self._answered.set()

    def error_received(self, exc: Exception) -> None:
        """It does not listen yet."""


def missing() -> str | None:
    """Why it cannot be run here, or None."""
    return None if shutil.which("kamailio") else "kamailio is not installed (Debian: kamailio); `make test` installs it"


class Kamailio:
    """A proxy between the server, at the port `inside`, and its caller or callee, at `outside`.

    Use as an async context manager.
    """

    def __init__(self, inside: int, outside: int = 9, challenge: Challenge | None = None) -> None:
        self.port = free_ports(2)
        self.relayed: list[str] = []
        """`METHOD by route from PORT` of requests in dialogs, `METHOD from PORT` of others."""
        self.checked: list[str] = []
        """`challenged METHOD` and `authenticated METHOD by ALGORITHM`."""
        self.watch = Watch()
        self._inside = inside
        self._outside = outside
        self._challenge = challenge

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="kamailio-")
        file = Path(self._directory.name) / "kamailio.cfg"
        asked = {} if self._challenge is None else asdict(self._challenge) | {"inside": self._inside}
        file.write_text(
            _CONFIG.format(
                port=self.port,
                inside=self._inside,
                outside=self._outside,
                modules=_AUTH_MODULE.format(**asked) if asked else "",
                authentication=_AUTHENTICATION.format(**asked) if asked else "",
            )
        )
        self._process = await asyncio.create_subprocess_exec(
            *("kamailio", "-f", str(file), "-Y", self._directory.name, "-DD", "-E", "-m", "32", "-M", "8"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(60):
            await self._answers()
        return self

    async def _answers(self) -> None:
        """Send OPTIONS until the proxy answers."""
        loop, answered = asyncio.get_running_loop(), asyncio.Event()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Probe(answered), remote_addr=("127.0.0.1", self.port)
        )
        while not answered.is_set():
            transport.sendto(OPTIONS.format(port=transport.get_extra_info("sockname")[1]).encode())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), 0.1)
        transport.close()

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        await self._reading
        self._directory.cleanup()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace").strip()
            for word in ("relayed ", "unrouted "):
                if word in text:
                    self.relayed.append(text.partition(word)[2])
            for word in ("challenged ", "authenticated "):
                if word in text:
                    self.checked.append(word + text.partition(word)[2])
            self.watch.changed()
