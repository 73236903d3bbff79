"""sipp as the called party: scenarios written step by step, and the process that plays one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trunkline.demo.server import free_ports

FROM_US = """
    [last_Via:]
    [last_From:]
    [last_To:];tag=[pid]SIPpTag[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    Contact: <sip:bob@[local_ip]:[local_port];transport=[transport]>"""
"""Headers of a response to us."""
TO_US = """
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: [$them];tag=[pid]SIPpTag[call_number]
    To: [$us]
    [last_Call-ID:]
    Contact: <sip:bob@[local_ip]:[local_port];transport=[transport]>
    Max-Forwards: 70"""
"""Headers of a request to us, in the dialog that we made."""
SDP = """
    Content-Type: application/sdp
    Content-Length: [len]

    v=0
    o=bob 1 1 IN IP4 [local_ip]
    s=-
    c=IN IP4 [local_ip]
    t=0 0
    m=audio 4000 RTP/AVP 0
    a=sendrecv"""
EMPTY = """
    Content-Length: 0
"""


class Scenario:
    """What the called party does, in order; each method returns the scenario."""

    def __init__(self) -> None:
        self._steps: list[str] = []

    def recv(self, method: str, *expected: tuple[str, str]) -> "Scenario":
        """Wait for a request, in which each header must match its expression."""
        checks = _checks(expected)
        if method == "INVITE" and not self._steps:
            checks += '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="us"/>'
            checks += '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="them"/>'
            checks += '<ereg regexp=".*" search_in="hdr" header="Via:" assign_to="via"/>'
        action = f"<action>{checks}</action>" if checks else ""
        # `rrs` keeps the route and the contact for `request`.
        self._steps.append(f'<recv request="{method}" rrs="true">{action}</recv>')
        return self

    def recv_authorized(self, username: str, password: str, method: str = "INVITE") -> "Scenario":
        """Wait for a request with the right credentials; others get 403."""
        check = f'<verifyauth assign_to="right" username="{username}" password="{password}"/>'
        self._steps.append(f'<recv request="{method}" rrs="true"><action>{check}</action></recv>')
        label = sum("<label" in step for step in self._steps) + 1
        self._steps.append(f'<nop test="right" next="{label}"/>')
        self.send("403 Wrong Credentials")
        self._steps.append(f'<label id="{label}"/>')
        return self

    def send(self, status: str, *headers: str, sdp: bool = False, cseq: str = "") -> "Scenario":
        """Answer the INVITE; `cseq` is its, where another request came after it."""
        repeated = ' retrans="500"' if status[0] > "1" else ""
        head = FROM_US
        if cseq:
            head = head.replace("[last_CSeq:]", f"CSeq: {cseq}").replace("[last_Via:]", "Via: [$via]")
        return self._send(f"SIP/2.0 {status}{head}", headers, sdp, repeated)

    def answer(self, status: str, *headers: str, sdp: bool = False) -> "Scenario":
        """Answer the last request, which is inside the dialog."""
        head = FROM_US.replace(";tag=[pid]SIPpTag[call_number]", "")
        return self._send(f"SIP/2.0 {status}{head}", headers, sdp, "")

    def moved(self, *uris: str) -> "Scenario":
        """Send the caller elsewhere."""
        head = FROM_US.partition("\n    Contact:")[0]
        contact = "Contact: " + ", ".join(f"<{uri}>" for uri in uris)
        return self._send(f"SIP/2.0 302 Moved{head}", (contact,), False, ' retrans="500"')

    def request(self, method: str, cseq: int, *headers: str, sdp: bool = False) -> "Scenario":
        """A request to us."""
        line = f"{method} [next_url] SIP/2.0{TO_US}\n    CSeq: {cseq} {method}"
        return self._send(line, headers, sdp, "" if method == "ACK" else ' retrans="500"')

    def response(self, status: int, *expected: tuple[str, str]) -> "Scenario":
        """Wait for our response to it."""
        checks = _checks(expected)
        action = f"<action>{checks}</action>" if checks else ""
        self._steps.append(f'<recv response="{status}" rrs="true">{action}</recv>')
        return self

    def provisional(self) -> "Scenario":
        """Our 100, which need not come."""
        self._steps.append('<recv response="100" optional="true"/>')
        return self

    def pause(self, milliseconds: int) -> "Scenario":
        """Wait."""
        self._steps.append(f'<pause milliseconds="{milliseconds}"/>')
        return self

    def _send(self, line: str, headers: tuple[str, ...], sdp: bool, attributes: str) -> "Scenario":
        text = "".join([line, *(f"\n    {header}" for header in headers), SDP if sdp else EMPTY])
        self._steps.append(f"<send{attributes}><![CDATA[\n    {text}\n]]></send>")
        return self

    def xml(self) -> str:
        """For sipp."""
        steps = "\n".join(self._steps)
        # sipp wants each variable to be used.
        names = [name for name in ("ignored", "us", "them", "via") if f'assign_to="{name}"' in steps]
        if names:
            steps += f'\n<Reference variables="{",".join(names)}"/>'
        return f'<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="callee">\n{steps}\n</scenario>'


def _checks(expected: tuple[tuple[str, str], ...]) -> str:
    return "".join(
        f'<ereg regexp="{expression}" search_in="hdr" header="{name}:" check_it="true" assign_to="ignored"/>'
        for name, expression in expected
    )


@asynccontextmanager
async def sipp(
    scenario: Scenario, folder: Path, *options: str, calls: int = 1, port: int | None = None
) -> AsyncIterator[int]:
    """sipp that waits for calls at the given port; each of them must follow the scenario."""
    port = port or free_ports(1)
    file = folder / f"callee{port}.xml"
    file.write_text(scenario.xml())
    process = await asyncio.create_subprocess_exec(
        *("sipp", "-sf", str(file), "-i", "127.0.0.1", "-p", str(port), "-m", str(calls), "-nostdin"),
        *("-timeout", "60", "-timeout_error", "-max_socket", "500", "-nostdin", "-trace_err", *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await listening(port, process.pid)
        yield port
        output, _ = await asyncio.wait_for(process.communicate(), 90)
        assert process.returncode == 0, output.decode(errors="replace")[-2000:] + _errors(folder, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def listening(port: int, process: int) -> None:
    """Wait until the port is in use in the process's network; sipp does not report that it is ready."""
    async with asyncio.timeout(30):
        while not _taken(port, process):  # noqa: ASYNC110 - the kernel does not report when a port is taken
            await asyncio.sleep(0)


def _taken(port: int, process: int) -> bool:
    tables = [Path(f"/proc/{process}/net/{name}") for name in ("udp", "udp6", "tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()]
    # State 07 is a bound UDP socket, 0A a listening TCP one.
    return any(row[1].endswith(f":{port:04X}") and row[3] in ("07", "0A") for row in rows)


def _errors(folder: Path, port: int) -> str:
    return "".join(path.read_text() for path in folder.glob(f"callee{port}*errors.log"))[-2000:]
