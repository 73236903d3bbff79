"""Stores on real databases: SQLite files, and a PostgreSQL server of our own that the test run starts and ends."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trunkline.calls.views import Application, CallStatus, CallView, StreamStatus, StreamView
from trunkline.config import StoreSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LegReport
from trunkline.store.records import CallbackRecord
from trunkline.store.store import Store

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ACCOUNT = AccountSid("5f1c9d2e-0000-4000-8000-000000000001")


class Make:
    """Records with sensible values; times are seconds after `NOON`."""

    account = ACCOUNT
    noon = NOON

    @staticmethod
    def at(seconds: float) -> datetime:
        return NOON + timedelta(seconds=seconds)

    @classmethod
    def call(
        cls,
        sid: str = "v3:one",
        at: float = 0,
        *,
        account: str = ACCOUNT,
        status: CallStatus = "in-progress",
        to: str = "+15550002",
        from_: str = "+15550001",
        ended: float | None = None,
        report: LegReport | None = None,
    ) -> CallView:
        return CallView(
            sid=CallSid(sid),
            account_sid=AccountSid(account),
            session_id=CallSessionId("5f1c9d2e-0000-4000-8000-0000000000aa"),
            direction="inbound",
            from_=from_,
            to=to,
            caller_name="",
            status=status,
            created_at=cls.at(at),
            updated_at=cls.at(at),
            ended_at=None if ended is None else cls.at(ended),
            report=report,
        )

    @classmethod
    def stream(
        cls,
        sid: str,
        at: float = 0,
        *,
        account: str = ACCOUNT,
        call: str = "v3:one",
        name: str | None = None,
        status: StreamStatus = "in-progress",
    ) -> StreamView:
        return StreamView(
            sid=StreamSid(sid),
            account_sid=AccountSid(account),
            call_sid=CallSid(call),
            name=name,
            url="wss://app.example/x?y=%20z",
            track="both_tracks",
            status=status,
            created_at=cls.at(at),
            updated_at=cls.at(at),
            status_callback=None,
            status_callback_method="POST",
            mode="mp3",
            codec="PCMU",
        )

    @classmethod
    def application(cls, sid: str) -> Application:
        url = "https://a.example/"
        return Application(sid, cls.account, sid, url, "POST", None, None, "POST", True, NOON, NOON)

    @classmethod
    def callback(cls, callback_id: str, *, key: str = "s1", host: str = "http://a:80") -> CallbackRecord:
        return CallbackRecord(
            id=callback_id,
            key=key,
            host=host,
            call_sid=CallSid("v3:one"),
            stream_sid=StreamSid(key),
            url=host + "/cb",
            method="POST",
            form="StreamEvent=stream-started",
            created_at=NOON,
        )


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(directory=tmp_path / "state")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Starts PostgreSQL once; each call gives the URL of a fresh database. It refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    binaries = found[-1].parent
    # Not pytest's own temporary directory, which no other user may enter.
    home = Path(tempfile.mkdtemp(prefix="trunkline-postgres-"))
    run_as: list[str] = []
    if os.geteuid() == 0:
        run_as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(home, "postgres", "postgres")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        subprocess.run([*run_as, *command], check=True, capture_output=True, cwd=home, timeout=60)

    run(str(binaries / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", "postgres", "-N")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    run(str(binaries / "pg_ctl"), "-D", str(home / "data"), "-l", str(home / "log"), "-w", "-o", options, "start")
    made = 0

    def fresh() -> str:
        nonlocal made
        made += 1
        run(str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", f"t{made}")
        return f"postgresql://postgres@127.0.0.1:{port}/t{made}"

    yield fresh
    run(str(binaries / "pg_ctl"), "-D", str(home / "data"), "-w", "-m", "immediate", "stop")
    shutil.rmtree(home)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def any_settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """Settings of an empty store: everything that uses them runs on both databases."""
    url = request.getfixturevalue("postgres")() if request.param == "postgresql" else None
    return StoreSettings(directory=tmp_path / "state", url=url)


@pytest.fixture
async def open_store(any_settings: StoreSettings) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
    """Opens the store of `any_settings`, again and again; closes the last one at the end."""
    stores: list[Store] = []

    async def again() -> Store:
        if stores:
            await stores.pop().close()
        stores.append(await Store.open(any_settings))
        return stores[-1]

    yield again
    for store in stores:
        await store.close()


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[Store]]) -> Store:
    return await open_store()
