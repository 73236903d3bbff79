"""PostgreSQL behind a pooler: pgbouncer gives each transaction any of its sessions."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from trunkline.cluster.keeper import Keeper
from trunkline.cluster.lease import BEAT
from trunkline.config import StoreSettings
from trunkline.demo.server import free_ports
from trunkline.errors import StartupError
from trunkline.store.records import call_row, callback_row
from trunkline.store.store import STORE_ERRORS, Store
from trunkline.tasks import repeated

pytestmark = pytest.mark.peer

SESSIONS = 2
"""Of the pooler with PostgreSQL: fewer than the server's connections, so that they are shared."""


@pytest.fixture
async def pooled(postgres: Callable[[], str]) -> AsyncIterator[str]:
    """The URL of a fresh database by pgbouncer in transaction mode."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed; `make test` installs it")
    url, port = urlsplit(postgres()), free_ports(1)
    # Not pytest's own temporary directory, which no other user may enter.
    home = Path(tempfile.mkdtemp(prefix="trunkline-pgbouncer-"))
    (home / "users").write_text('"postgres" ""\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={url.hostname} port={url.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\nauth_file = {home}/users\npool_mode = transaction\n"
        f"default_pool_size = {SESSIONS}\nlogfile = {home}/log\n"
    )
    run_as = []
    if os.geteuid() == 0:  # as which it refuses to run
        run_as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(home, "postgres", "postgres")
        for name in ("users", "pgbouncer.ini"):
            shutil.chown(home / name, "postgres", "postgres")
    process = await asyncio.create_subprocess_exec(*run_as, "pgbouncer", "-q", str(home / "pgbouncer.ini"))
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None
                    continue
                writer.close()
                break
        yield f"postgresql://postgres@127.0.0.1:{port}{url.path}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        shutil.rmtree(home)


async def test_a_server_works_behind_a_pooler(pooled: str, tmp_path: Path, make: Any) -> None:
    settings = StoreSettings(directory=tmp_path / "1", url=pooled, pooler=True)
    store = await Store.open(settings)
    keeper = Keeper(store.lives.beat, STORE_ERRORS)
    await keeper.beat()
    async with repeated(keeper.beat, BEAT, "lease keeper"):
        rows = [call_row(make.call(f"v3:{n}")) for n in range(50)]

        async def change(n: int) -> None:
            await store.write([rows[n]], [], [callback_row(make.callback(f"c{n}")) | {"position": n + 1}])
            await store.call(make.account, rows[n]["sid"])

        await asyncio.gather(*(change(n) for n in range(50)))
        assert len(await store.open_calls()) == 50
        with pytest.raises(StartupError, match="in use by another server"):
            await Store.open(StoreSettings(directory=tmp_path / "2", url=pooled, pooler=True))
        assert keeper.holds
        async with store._engine.begin() as connection:
            await store.fence.check(connection)
            assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "5s"
        for _ in range(2 * SESSIONS):
            async with store._engine.begin() as connection:
                assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "0"
    await store.close()
