"""The pytest plugin (entry point `pytest11`): the fixtures `phone`, `trunkline_server` and `trunkline_settings`.

What is heavy is imported by the fixtures, so that test runs that use none of them pay nothing.
"""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trunkline.testing.phone import Phone
    from trunkline.testing.server import LocalServer

_FIXTURE = "phone"
_ASYNC_MARKS = ("asyncio", "anyio", "trio")


@pytest.fixture(scope="session")
def trunkline_settings() -> dict[str, object]:
    """Settings of the server by their dotted names. Override it in conftest.py: `{"media.codecs": "PCMA"}`."""
    return {}


@pytest.fixture(scope="session")
def trunkline_server(
    tmp_path_factory: pytest.TempPathFactory, trunkline_settings: dict[str, object]
) -> Iterator["LocalServer"]:
    """The server of all calls of this test session, on free ports."""
    from trunkline.testing.server import LocalServer

    server = LocalServer(tmp_path_factory.mktemp("trunkline"), trunkline_settings)
    try:
        server.launch()
        import trunkline.testing.phone  # noqa: F401 - while the server starts, which takes longer

        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
def phone(trunkline_server: "LocalServer", request: pytest.FixtureRequest) -> Iterator["Phone"]:
    """Calls bots. Audio files are looked for beside the test, and in the directory that pytest was started in."""
    from trunkline.testing.phone import Phone

    made = Phone(trunkline_server, (request.path.parent, Path(request.config.invocation_params.dir)))
    try:
        yield made
    finally:
        made.close()


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test that uses `phone`, unless another plugin does: so pytest-asyncio is not needed."""
    if _FIXTURE not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    if any(pyfuncitem.get_closest_marker(mark) for mark in _ASYNC_MARKS):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
