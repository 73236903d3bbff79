"""The server of these tests: one for each worker."""

from collections.abc import Iterator

import pytest

from trunkline.testing import LocalServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """It must end when it is stopped, and must not have shown a traceback."""
    with LocalServer(tmp_path_factory.mktemp("trunkline")) as server:
        yield server
    assert "server_stopped" in server.log
    assert "Traceback" not in server.log
