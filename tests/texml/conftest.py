"""An application on the web, a signer, and a cache."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trunkline.outbound.dialler import Dialler
from trunkline.outbound.names import Names
from trunkline.texml.cache import FileCache
from trunkline.webhooks.signing import Signer
from webapp import WebApp


@pytest.fixture
async def web() -> AsyncIterator[WebApp]:
    async with WebApp() as app:
        yield app


@pytest.fixture
async def dialler() -> AsyncIterator[Dialler]:
    dialler = Dialler(Names())
    yield dialler
    await dialler.stop()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.load(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", 100_000)
