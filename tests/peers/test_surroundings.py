"""The server and what surrounds it: readers of its log, a kill, signals."""

import asyncio
import fcntl
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from peers import sipp as steps
from peers.harness import GLANCE, RecordingApp, children, happens, new_server, running
from peers.sipp import SippRun
from peers.test_endings import start
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.errors import CallFailed
from trunkline.demo.server import ServerProcess, free_ports
from trunkline.sip.transport.certificates import _self_signed
from webapp import WebApp, texml

pytestmark = pytest.mark.peer


def family(server: ServerProcess) -> list[int]:
    """The server's media workers and their decoders."""
    workers = children(server)
    found = subprocess.run(
        ["pgrep", "-P", ",".join(map(str, workers))], capture_output=True, text=True, timeout=30, check=False
    )
    return workers + [int(pid) for pid in found.stdout.split()]


@asynccontextmanager
async def all_end(pids: list[int], within: float) -> AsyncIterator[None]:
    """At the end, all of these have ended in time, or the test fails; each is killed anyway."""
    watched = {pid: os.pidfd_open(pid) for pid in pids}
    try:
        yield
        loop, over = asyncio.get_running_loop(), dict.fromkeys(pids, False)
        done = asyncio.Event()

        def ended(pid: int) -> None:
            loop.remove_reader(watched[pid])
            over[pid] = True
            if all(over.values()):
                done.set()

        for pid, descriptor in watched.items():
            loop.add_reader(descriptor, ended, pid)
        try:
            await asyncio.wait_for(done.wait(), within)
        finally:
            for descriptor in watched.values():
                loop.remove_reader(descriptor)
    finally:
        for descriptor in watched.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Both ends; it holds no more than the least that a pipe can."""
    ends = list(os.pipe())
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        os.close(end)


async def dropped(server: ServerProcess) -> int:
    """Lines of the log, by the metrics."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{server.http_port}/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith('trunkline_log_total{event="dropped"}')]
    return int(float(line.split()[-1]))


REDIRECTED = {
    "closed": ("sh", "-c", 'exec "$@" >&- 2>&-', "sh"),
    "full": ("sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"),
    "its reader gone": (),
    "not read": (),
}


@pytest.mark.parametrize("stderr", list(REDIRECTED))
async def test_calls_go_on_and_the_server_ends_in_order_whatever_becomes_of_its_log(
    tmp_path: Path, pipe: list[int], stderr: str, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    server = ServerProcess(
        tmp_path,
        account_sid="4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e",
        api_key="KEYsecretKEYsecret",
        media_ports=80,
        output=None if REDIRECTED[stderr] else pipe[1],
        wrapper=REDIRECTED[stderr],
    )
    if stderr == "its reader gone":
        os.close(pipe[0])
        pipe[0] = os.open(os.devnull, os.O_RDONLY)
    await server.start()
    pids = family(server)
    async with all_end(pids, 10):
        for _ in range(12):  # each is worth some 400 bytes of log
            async with DemoCaller(server.sip_address, speech(50)) as caller:
                await caller.call()
                await start(server, caller, app.url, callbacks)
                assert await caller.hang_up()
        if stderr != "not read":  # where the last lines wait for room
            assert await dropped(server) > 30
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(server.process.wait(), 10) == 0


async def test_a_killed_server_ends_its_workers_and_decoders_and_stops_streams(
    tmp_path: Path, callbacks: CallbackReceiver
) -> None:
    server = new_server(tmp_path, media__workers=1)
    await server.start()
    pids = family(server)
    assert len(pids) == 2
    async with all_end(pids, 5), RecordingApp() as app, DemoCaller(server.sip_address, speech(500)) as caller:
        await caller.call()
        await start(server, caller, app.url, callbacks)
        socket = await app.socket()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)  # as a service manager does, to all of a group: the server says when
            os.kill(pid, signal.SIGHUP)
        await happens(app.watch, "it goes on", lambda: len(socket.all("media")) > 50)
        await server.kill()
        await happens(app.watch, "the app receives stop", lambda: socket.all("stop"))


async def test_a_worker_whose_app_never_closes_ends_by_itself_after_the_server(
    tmp_path: Path, callbacks: CallbackReceiver
) -> None:
    server = new_server(tmp_path, streams__close_timeout=1000)
    await server.start()
    async with (
        all_end(family(server), 10),
        RecordingApp() as app,
        DemoCaller(server.sip_address, speech(500)) as caller,
    ):
        app.reads = False
        await caller.call()
        await start(server, caller, app.url, callbacks)
        await happens(app.watch, "the app is dialled", lambda: app.sockets)
        await server.kill()


# ── reload ──────────────────────────────────────────────────────────────────────────────────────────────────

FILE = """
log.level = "{level}"
http.rate_limit = {rate}
[[applications]]
name = "bot"
voice_url = "{voice}"
[[numbers]]
pattern = "*"
application = "bot"
[sip]
tls_certificate_file = "{certificate}"
[[sip.phones]]
user = "{phone}"
password = "secret"
"""


class Reloaded:
    """A server with a file, whose settings change."""

    def __init__(self, directory: Path, voice: str) -> None:
        self._directory = directory
        self.tls_port = free_ports(1)
        self._certificate = directory / "tls.pem"
        self.server = new_server(
            directory, media__workers=1, sip__tls_port=self.tls_port, http__tls_certificate_file=str(self._certificate)
        )
        self.certificate = b""
        """As it was at the start, DER."""
        self._values = {"level": "info", "rate": 500, "voice": voice, "phone": "ann"}

    def write(self, **values: object) -> None:
        self._values |= values
        self.write_text(FILE.format(certificate=self._certificate, **self._values))

    def write_text(self, text: str) -> None:
        (self._directory / "trunkline.toml").write_text(text)

    def certify(self) -> bytes:
        """A new certificate, DER."""
        pem = _self_signed("127.0.0.1")
        self._certificate.write_bytes(pem)
        return ssl.PEM_cert_to_DER_cert(pem[pem.index(b"-----BEGIN CERT") :].decode())

    async def hang_up(self) -> list[dict[str, Any]]:
        """kill -HUP; what the log says of it, once it does."""
        begun = len(self.server.log)
        self.server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while True:
                assert await self.fetched() == 200
                lines = [json.loads(line) for line in self.server.log[begun:].splitlines()]
                logged = [line for line in lines if line["event"].startswith("settings_")]
                if logged:
                    return logged

    async def fetched(self, trusted: bytes | None = None) -> int:
        """The status of a GET over HTTPS by a client that trusts one certificate alone, or any."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusted is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context.load_verify_locations(cadata=trusted)
        async with httpx.AsyncClient(base_url=self.server.base_url, trust_env=False, verify=context) as client:
            return (await client.get("/public_key")).status_code

    async def shown(self) -> bytes:
        """The certificate that we are shown for SIP."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self.tls_port, ssl=context)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return bytes(shown)


@pytest.fixture
async def web() -> AsyncIterator[WebApp]:
    async with WebApp() as web:
        yield web


@pytest.fixture
async def server(tmp_path: Path, web: WebApp) -> AsyncIterator[ServerProcess]:
    """One all of whose calls do what the web app says at /voice."""
    applications = json.dumps([{"name": "app", "voice_url": web.url + "/voice"}])
    numbers = json.dumps([{"pattern": "*", "application": "app"}])
    async with running(new_server(tmp_path, applications=applications, numbers=numbers)) as server:
        yield server


@pytest.fixture
async def reloaded(tmp_path: Path, web: WebApp) -> AsyncIterator[Reloaded]:
    made = Reloaded(tmp_path, web.url + "/voice")
    made.certificate = made.certify()
    made.write()
    async with running(made.server):
        yield made


async def test_kill_hup_reloads_what_can_be_and_leaves_what_goes_on(
    reloaded: Reloaded, web: WebApp, app: RecordingApp
) -> None:
    web.answers["/voice"] = texml(f'<Connect><Stream url="{app.url}"/></Connect>')
    web.answers["/other"] = texml("<Reject/>")
    server = reloaded.server
    workers = children(server)
    async with (
        DemoCaller(server.sip_address, speech(3000)) as caller,
        DemoCaller(server.sip_address, speech(50)) as other,
    ):
        await caller.call()
        socket = await app.socket()
        reloaded.write(voice=web.url + "/other", level="debug", rate=1, phone="bob")
        certificate = reloaded.certify()
        assert await reloaded.fetched(reloaded.certificate) == 200
        with pytest.raises(httpx.ConnectError):
            await reloaded.fetched(certificate)
        logged, restart = await reloaded.hang_up()
        assert logged["changed"] == ["sip.phones: bob added, ann removed", "log.level", "applications: bot changed"]
        assert restart["settings"] == ["http.rate_limit"]
        with pytest.raises(CallFailed, match="404"):
            await other.call()
        heard = len(socket.all("media"))
        await happens(app.watch, "the call continues", lambda: len(socket.all("media")) > heard + 50)
        assert caller.up
    assert await reloaded.shown() == certificate
    assert await reloaded.fetched(certificate) == 200
    with pytest.raises(httpx.ConnectError):
        await reloaded.fetched(reloaded.certificate)
    assert children(server) == workers


async def test_a_mistake_in_the_file_leaves_what_is_in_force(reloaded: Reloaded) -> None:
    for text, words in MISTAKES.items():
        reloaded.write_text(text)
        (logged,) = await reloaded.hang_up()
        assert logged["level"] == "error"
        assert words in logged["reason"]
    reloaded.write()
    (logged,) = await reloaded.hang_up()
    assert logged["changed"] == [], "nothing had changed"


MISTAKES = {
    "[sip\n": "is not TOML",
    "[sip]\nmin_se = 'x'\n": "bad setting sip.min_se (file)",
    "[sip]\nunknown_caler = 'none'\n": "no such setting: sip.unknown_caler (file)",
    "[sip]\ntls_certificate_file = '/none'\n": "sip.tls_certificate_file: cannot use /none",
    "[streams]\nca_file = '/none'\n": "streams.ca_file: TLS: no certificates in /none",
    "[[numbers]]\npattern = '*'\napplication = '123'\n": "neither configured nor stored",
}


@pytest.mark.parametrize("answered", [False, True])
async def test_no_caller_receives_our_hosts_and_urls(
    tmp_path: Path, web: WebApp, sipp: Callable[..., SippRun], server: ServerProcess, answered: bool
) -> None:
    if answered:
        web.answers["/voice"] = texml("<Answer/><Pause/><Redirect>inner/next</Redirect>")
    ending = (steps.answered(), steps.ack(), steps.byed()) if answered else (steps.declined(480),)
    async with sipp(steps.invite(steps.sdp(steps.PCMU_LINES, 9)), *ending, trace=True) as run:
        await run.succeeds()
    (said,) = (line for line in run.messages.splitlines() if line.startswith(("Reason:", "Warning:")))
    assert "no instructions" in said
    port, text = web.url.rpartition(":")[2], said.partition('"')[2]
    assert not [word for word in (port, "127.0.0.1", "http", "voice", "inner", "404") if word in text]
    await server.stop()  # after which its log is complete
    (ended,) = (json.loads(line) for line in server.log.splitlines() if "call_ended" in line)
    assert ended["reason"].startswith(f"no instructions: {web.url}")


ON_TERMINAL = """
import os, sys
os.set_inheritable(os.open(sys.argv[1], os.O_RDWR), True)
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_a_terminal_that_is_closed_ends_the_server_as_ctrl_c_does(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    server = ServerProcess(
        tmp_path,
        account_sid="4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e",
        api_key="KEYsecretKEYsecret",
        wrapper=(sys.executable, "-c", ON_TERMINAL, os.ttyname(terminal)),
    )
    await server.start()
    os.close(terminal)
    os.close(master)
    assert await asyncio.wait_for(server.process.wait(), 20) == 0
    assert "server_stopped" in server.log


async def test_child_processes_have_no_secrets_and_decoders_no_network(tmp_path: Path) -> None:
    async with running(new_server(tmp_path)) as server:
        workers = children(server)
        decoders = below(workers)
        assert decoders
        assert not [pid for pid in (*workers, *decoders) if server.api_key.encode() in environment_of(pid)]
        assert {status_of(pid)["NoNewPrivs"] for pid in (server.process.pid, *workers, *decoders)} == {"1"}
        async with asyncio.timeout(30):
            while await asyncio.to_thread(lambda: {status_of(pid)["Seccomp"] for pid in decoders}) != {"2"}:  # noqa: ASYNC110
                await asyncio.sleep(GLANCE)  # they are confined a moment after they have started


def below(pids: list[int]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", ",".join(map(str, pids))], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
