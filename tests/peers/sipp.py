"""Running sipp: scenarios put together from steps, and what it logs, as it logs it.

sipp writes its log into a pipe that the test reads, so that a call's sid is known the moment the 200 came.
"""

import asyncio
import os
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sip.sipp_uas import listening
from trunkline.demo.server import free_ports

PCMU_LINES = "m=audio {port} RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
PCMA_LINES = "m=audio {port} RTP/AVP 8\na=rtpmap:8 PCMA/8000\n"
LOG_ANSWER = """<action>
  <ereg regexp="v3:[A-Za-z0-9_-]+" search_in="hdr" header="X-Trunkline-Call-Sid:" assign_to="sid"/>
  <ereg regexp="m=audio ([0-9]+)" search_in="body" assign_to="line,port"/>
  <log message="[$sid] [$port] [$line]"/>
</action>"""


LOG_KEY = """<action>
  <ereg regexp="v3:[A-Za-z0-9_-]+" search_in="hdr" header="X-Trunkline-Call-Sid:" assign_to="sid"/>
  <ereg regexp="m=audio ([0-9]+)" search_in="body" assign_to="line,port"/>
  <ereg regexp="inline:[A-Za-z0-9+/]+" search_in="body" assign_to="line"/>
  <log message="[$sid] [$port] [$line]"/>
</action>"""


def sdp(lines: str, port: int | str = "[rtpstream_audio_port]", *, direction: str = "sendrecv", host: str = "") -> str:
    """A session with the media lines given; by default at sipp's own RTP port."""
    address = f"IN IP4 {host}" if host else "IN IP[media_ip_type] [media_ip]"
    return f"v=0\no=sipp 1 1 {address}\ns=-\nc={address}\nt=0 0\n{lines.format(port=port)}a={direction}\n"


def _request(
    method: str,
    cseq: int,
    *,
    body: str = "",
    kind: str = "application/sdp",
    tag: str = "[peer_tag_param]",
    branch: str = "[branch]",
) -> str:
    """One request, sent again until answered."""
    content = f"Content-Type: {kind}\n" if body else ""
    text = f"""
{method} sip:+13125550123@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}
From: <sip:+13125550100@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:+13125550123@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
{content}Content-Length: [len]

{body}"""
    retransmit = "" if method == "ACK" else ' retrans="500"'
    return f"<send{retransmit}><![CDATA[\n{text}\n]]></send>"


def invite(body: str, cseq: int = 1) -> str:
    """An INVITE, or with a higher `cseq` a re-INVITE."""
    return _request("INVITE", cseq, body=body, tag="" if cseq == 1 else "[peer_tag_param]")


def response(status: int) -> str:
    """A response that must come."""
    return f'<recv response="{status}"/>'


def update(body: str, cseq: int) -> str:
    """An UPDATE with an offer, sent once: sipp sends nothing else as long as it may have to send something again."""
    return _request("UPDATE", cseq, body=body).replace(' retrans="500"', "")


def answered(action: str = LOG_ANSWER) -> str:
    """100, 180, 200; by default the sid and the media port are logged."""
    return (
        '<recv response="100" optional="true"/><recv response="180" optional="true"/>'
        f'<recv response="200" rtd="true">{action}</recv>'
    )


def requires(pattern: str, log: str = "") -> str:
    """The answer's SDP must match."""
    return f'<action><ereg regexp="{pattern}" search_in="body" check_it="true" assign_to="line"/>{log}</action>'


def ack(cseq: int = 1, body: str = "", branch: str = "[branch]") -> str:
    """ACK of a 200, with the answer to a late offer when there is one; or of a failure, with its INVITE's branch."""
    return _request("ACK", cseq, body=body, branch=branch)


def info(cseq: int, key: str) -> str:
    """INFO with a key press, and its own 200."""
    body = f"Signal={key}\nDuration=160\n"
    request = _request("INFO", cseq, body=body, kind="application/dtmf-relay")
    return request.replace("<send", f'<send start_txn="{key}"') + f'<recv response="200" response_txn="{key}"/>'


def bye(cseq: int) -> str:
    """BYE and its 200."""
    return _request("BYE", cseq) + '<recv response="200"/>'


def cancelled(cseq: int = 1) -> str:
    """CANCEL as soon as the INVITE is being worked on, its 200, the INVITE's 487 and the ACK of that.

    Both share the INVITE's branch (RFC 3261 sections 9.1, 17.1.1.3), which sipp counts back in steps.
    """
    return (
        response(100)
        + _request("CANCEL", cseq, tag="" if cseq == 1 else "[peer_tag_param]", branch="[branch-2]")
        + '<recv response="180" optional="true"/><recv response="200"/><recv response="487"/>'
        + _request("ACK", cseq, branch="[branch-6]")
    )


def declined(status: int) -> str:
    """A final failure, and its ACK."""
    return (
        '<recv response="100" optional="true"/><recv response="180" optional="true"/>'
        f'<recv response="{status}"/>' + _request("ACK", 1, branch="[branch-4]")
    )


def waits() -> str:
    """Wait for `SippRun.go_on`, which sends a request that needs no answer. It says when it does: what comes earlier is
    unexpected, and ends the call."""
    return '<nop><action><log message="waits"/></action></nop><recv request="NOTIFY"/>'


def pause(milliseconds: int) -> str:
    """Wait."""
    return f'<pause milliseconds="{milliseconds}"/>'


def stream(file: Path, loops: int) -> str:
    """Send a raw file as RTP, 20 ms at a time; -1 loops for ever."""
    return f'<nop><action><exec rtp_stream="{file},{loops},0"/></action></nop>'


def capture(file: Path) -> str:
    """Send the RTP of a capture as it was; the SDP's port must be `[media_port]`."""
    return f'<nop><action><exec play_pcap_audio="{file}"/></action></nop>'


def byed() -> str:
    """Wait for the server's BYE and answer it."""
    response = """
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0
"""
    return f'<recv request="BYE"/><send><![CDATA[\n{response}\n]]></send>'


# ── the called side ─────────────────────────────────────────────────────────────────────────────────────────


def _response(status: int, reason: str, *, body: str = "", headers: str = "", tag: bool = True) -> str:
    """A response to the last request; a To that has a tag already keeps it."""
    content = "Content-Type: application/sdp\n" if body else ""
    ours = ";tag=[pid]u[call_number]" if tag else ""
    text = f"""
SIP/2.0 {status} {reason}
[last_Via:]
[last_From:]
[last_To:]{ours}
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:callee@[local_ip]:[local_port]>
{headers}{content}Content-Length: [len]

{body}"""
    return f"<send><![CDATA[\n{text}\n]]></send>"


def called(pattern: str = "") -> str:
    """Take an INVITE, and log the port that its SDP offers media at, as `SippRun.answered` reads it; `pattern` must
    be in the message."""
    check = f'<ereg regexp="{pattern}" search_in="msg" check_it="true" assign_to="line"/>' if pattern else ""
    return f"""<recv request="INVITE"><action>{check}
  <ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
  <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
  <ereg regexp="sip:[^>;]+" search_in="hdr" header="Contact:" assign_to="contact"/>
  <ereg regexp="m=audio ([0-9]+)" search_in="body" assign_to="line,port"/>
  <log message=" [$port] call:[call_id] [$line][$from][$to][$contact]"/>
</action></recv>"""


def responds(status: int, reason: str, body: str = "", headers: str = "") -> str:
    """A response to the INVITE; `headers` are whole lines."""
    return _response(status, reason, body=body, headers=headers)


def accepts(body: str, headers: str = "") -> str:
    """200 to the INVITE, and its ACK; `headers` are whole lines."""
    return _response(200, "OK", body=body, headers=headers) + '<recv request="ACK"/>'


def accepts_again(body: str, headers: str = "") -> str:
    """A re-INVITE, its 200, and the ACK."""
    return '<recv request="INVITE"/>' + _response(200, "OK", body=body, headers=headers, tag=False) + acked()


def challenges(username: str, password: str) -> str:
    """401 to the INVITE; its next one must bring the right credentials, else it gets 403."""
    header = 'WWW-Authenticate: Digest realm="carrier", nonce="7c6e", algorithm=MD5, qop="auth"\n'
    check = f'<verifyauth assign_to="right" username="{username}" password="{password}"/>'
    return (
        _response(401, "Unauthorized", headers=header)
        + acked()
        + f'<recv request="INVITE"><action>{check}</action></recv><nop test="right" next="1"/>'
        + _response(403, "Wrong Credentials")
        + '<label id="1"/>'
    )


def acked() -> str:
    """The ACK of a failure."""
    return '<recv request="ACK"/>'


def was_cancelled() -> str:
    """CANCEL, its 200, our 487 and the ACK of that."""
    return (
        '<recv request="CANCEL"/>'
        + _response(200, "OK", tag=False)
        + _response(487, "Request Terminated").replace("[last_CSeq:]", "CSeq: 1 INVITE")
        + acked()
    )


def _asks(method: str, cseq: int, body: str = "") -> str:
    """A request of the called side's."""
    content = "Content-Type: application/sdp\n" if body else ""
    text = f"""
{method} [$contact] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$to];tag=[pid]u[call_number]
To:[$from]
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:callee@[local_ip]:[local_port]>
Max-Forwards: 70
{content}Content-Length: [len]

{body}"""
    retransmit = "" if method == "ACK" else ' retrans="500"'
    return f"<send{retransmit}><![CDATA[\n{text}\n]]></send>"


def reinvites(body: str, cseq: int) -> str:
    """The called side's re-INVITE, and the ACK of its 200, which is logged."""
    log = """<action>
  <ereg regexp="m=audio ([0-9]+)" search_in="body" assign_to="line,port"/>
  <log message=" [$port] [$line]"/>
</action>"""
    answer = f'<recv response="100" optional="true"/><recv response="200">{log}</recv>'
    return _asks("INVITE", cseq, body) + answer + _asks("ACK", cseq)


def hangs_up() -> str:
    """Our BYE from the called side, and its 200."""
    return _asks("BYE", 1) + '<recv response="200"/>'


class Answered(NamedTuple):
    """What sipp logged of a 200."""

    call_sid: str
    """Empty for a re-INVITE."""
    media_port: int


class SippRun:
    """One sipp process. Use as an async context manager, which kills it should it still run."""

    def __init__(
        self,
        directory: Path,
        target: tuple[str, int] | None,
        steps: Sequence[str],
        *,
        calls: int = 1,
        rate: int = 10,
        seconds: int = 60,
        transport: str = "u1",
        media_ports: int = 4,
        host: str = "",
        port: int = 0,
        trace: bool = False,
    ) -> None:
        """`host` is its own address, by default the target's; `port` its own for SIP, by default any; `trace` keeps the
        messages, for `responses`."""
        self._host = host or (target[0] if target else "127.0.0.1")
        self.media_port = free_ports(media_ports, self._host)
        self.port = port or self.media_port + media_ports - 1
        """Its own for SIP."""
        self._call_id = f"1-{secrets.token_hex(8)}"
        self.key = ""
        """Of the last answer, the SRTP key in base64, where `LOG_KEY` asked for it."""
        self._directory = directory
        self._target = target
        self._transport = transport
        self._steps = steps
        self._trace = trace
        self._limits = ["-m", str(calls), "-r", str(rate), "-timeout", f"{seconds}s", "-timeout_error"]

    async def __aenter__(self) -> "SippRun":
        scenario, log = self._directory / "scenario.xml", self._directory / "sipp.log"
        self._errors, self._messages = self._directory / "sipp.err", self._directory / "sipp.msg"
        used = '<Reference variables="sid,line,port"/>' if "assign_to" in "".join(self._steps) and self._target else ""
        steps = "\n".join(self._steps)
        scenario.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="test">{steps}{used}</scenario>')
        os.mkfifo(log)
        self._pipe = os.fdopen(os.open(log, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
        self._log = asyncio.StreamReader()
        self._reading, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._log), self._pipe
        )
        target, port = self._target or ("", 0)
        peer = f"[{target}]:{port}" if ":" in target else f"{target}:{port}"
        self._process = await asyncio.create_subprocess_exec(
            "sipp",
            *([peer, "-cid_str", self._call_id.replace("1", "%u", 1)] if self._target else []),
            *(
                "-p",
                str(self.port),
                "-sf",
                str(scenario),
                "-i",
                self._host,
                "-mi",
                self._host,
                "-mp",
                str(self.media_port),
            ),
            *("-t", self._transport, "-nostdin", "-trace_logs", "-log_file", str(log)),
            *("-trace_err", "-error_file", str(self._errors), "-skip_rlimit", *self._limits),
            *(("-trace_msg", "-message_file", str(self._messages)) if self._trace else ()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._directory,
        )
        self._screen = asyncio.create_task(self._process.communicate())
        if self._target is None:
            await listening(self.port, self._process.pid)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._screen
        self._reading.close()

    async def answered(self, timeout: float = 30) -> Answered:  # noqa: ASYNC109 - fails the test
        """The next answered call. Fails the test when sipp ends or nothing comes."""
        line = (await asyncio.wait_for(self._log.readline(), timeout)).decode()
        found = re.match(r"(v3:\S+|) (\d+)(?: inline:(\S+)| call:(\S+))?", line)
        assert found, f"sipp logged {line!r}; {self.errors}"
        self.key, self._call_id = found[3] or "", found[4] or self._call_id
        return Answered(found[1], int(found[2]))

    async def go_on(self, timeout: float = 30) -> None:  # noqa: ASYNC109 - fails the test
        """Let the call, the only one, go on as soon as it `waits`."""
        line = (await asyncio.wait_for(self._log.readline(), timeout)).decode()
        assert line == "waits\n", f"sipp logged {line!r}; {self.errors}"
        request = (
            f"NOTIFY sip:sipp@test SIP/2.0\r\nVia: SIP/2.0/UDP test;branch=z9hG4bK{secrets.token_hex(8)}\r\n"
            f"From: <sip:test>;tag=1\r\n"
            f"To: <sip:sipp@test>;tag=2\r\nCall-ID: {self._call_id}\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(request.encode(), (self._host, self.port))

    @property
    def errors(self) -> str:
        """What sipp complained of."""
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    @property
    def messages(self) -> str:
        """All that was sent and came, with `trace`."""
        return self._messages.read_text()

    @property
    def responses(self) -> list[tuple[int, int]]:
        """Status and CSeq of the responses that came, in order; sipp passes over some that it does not expect."""
        pattern = r"message received \[\d+\] bytes ?:\s+SIP/2\.0 (\d+) .*?\nCSeq: (\d+) "
        found = re.findall(pattern, self.messages, re.DOTALL)
        return [(int(status), int(cseq)) for status, cseq in found]

    async def succeeds(self, timeout: float = 90) -> None:  # noqa: ASYNC109 - fails the test
        """Wait for the end; every call must have gone by the scenario."""
        screen, _ = await asyncio.wait_for(asyncio.shield(self._screen), timeout)
        assert self._process.returncode == 0, f"{self.errors}\n{screen.decode(errors='replace')[-3000:]}"
