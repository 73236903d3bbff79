"""A server for tests: it starts, answers, says why it does not, and ends."""

from pathlib import Path

import pytest

from trunkline.testing.server import LocalServer, ServerProblem

pytestmark = pytest.mark.process


def test_it_answers_the_api_and_names_what_it_refuses(server: LocalServer) -> None:
    assert isinstance(server.request("GET", "/Calls")["calls"], list)
    with pytest.raises(ServerProblem, match="404"):
        server.start_stream("v3:none", {"Url": "ws://127.0.0.1:1/"})
    assert server.sip_uri("+1") == f"sip:+1@127.0.0.1:{server.sip_port}"
    assert server.base_url.endswith(f":{server.http_port}/v2")
    assert "server_ready" in server.log


def test_a_server_that_does_not_run_answers_nothing(tmp_path: Path) -> None:
    server = LocalServer(tmp_path)
    server.stop()
    with pytest.raises(ServerProblem, match="refused"):
        server.request("GET", "/Calls")
    assert server.log == ""


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerProblem, match=r"exited with code 2:\n.*media\.codecs"):
        LocalServer(tmp_path, {"media.codecs": "GSM"}).start()
