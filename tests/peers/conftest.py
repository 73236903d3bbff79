"""Fixtures of the peer tests. The tests of one file share a server, where none of them ends or disturbs it."""

import base64
import functools
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import telnyx.resources.calls.actions
import telnyx.resources.texml.accounts.calls  # noqa: F401 - both else load at first use, for seconds, amid a call
from telnyx import AsyncTelnyx

from peers.baresip import Namespace, make_namespace, remove_namespace
from peers.harness import RecordingApp, new_server, running, takes_calls
from peers.sipp import SippRun
from sent import check_requests
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

said = functools.cache(functools.partial(speech, 3000))
SOON = 3
"""Seconds after which servers give up on an app that is not there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The running server of a file; at the end it must exit with 0, and without a traceback in its log. A file whose
    servers have other settings has a fixture of this name itself."""
    async with running(new_server(tmp_path_factory.mktemp("server"))) as server:
        yield server


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A running server for one test, which may end or disturb it."""
    async with running(new_server(tmp_path, streams__connect_timeout=SOON)) as server:
        yield server


@pytest.fixture
def server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """The server to test. A file whose tests need one each has a fixture of this name itself."""
    begun = len(shared_server.log)
    yield shared_server
    log = shared_server.log[begun:]
    sys.stderr.write(log)  # pytest shows it when the test fails
    assert "Traceback" not in log


@pytest.fixture
async def app() -> AsyncIterator[RecordingApp]:
    """A WebSocket app that records."""
    async with RecordingApp() as app:
        yield app


@pytest.fixture
async def callbacks() -> AsyncIterator[CallbackReceiver]:
    """A receiver of status callbacks; all that it got must be what the OpenAPI document describes."""
    async with CallbackReceiver() as receiver:
        yield receiver
    check_requests(receiver.received)


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[AsyncTelnyx]:
    """The official SDK, pointed at the server; it does not retry, so that a refusal is seen once."""
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
        yield client


@pytest.fixture
async def public_key(server: ServerProcess) -> bytes:
    """The raw key of the server's callback signatures."""
    return base64.b64decode(await server.public_key())


@pytest.fixture
async def caller(server: ServerProcess) -> AsyncIterator[DemoCaller]:
    """A call that is up and speaks for a minute."""
    await takes_calls(server)
    async with DemoCaller(server.sip_address, said()) as caller:
        await caller.call()
        yield caller


@pytest.fixture
def sipp(server: ServerProcess, tmp_path: Path) -> Callable[..., SippRun]:
    """Run sipp with steps of `peers.sipp` against the server: `async with sipp(steps, calls=1) as run`."""
    if shutil.which("sipp") is None:
        pytest.skip("sipp is not installed (Debian: sip-tester); `make test` installs it")
    directory = tmp_path / "sipp"
    directory.mkdir()
    return lambda *steps, **options: SippRun(directory, server.sip_address, steps, **options)


@pytest.fixture
def callee(tmp_path: Path) -> Callable[..., SippRun]:
    """sipp as the called party: `async with callee(steps) as run`, at `sip:callee@127.0.0.1:{run.port}`."""
    directory = tmp_path / "callee"
    directory.mkdir()
    return lambda *steps, **options: SippRun(directory, None, steps, **options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def space() -> AsyncIterator[Namespace]:
    """A network namespace for baresip."""
    space = await make_namespace()
    try:
        yield space
    finally:
        await remove_namespace(space)
