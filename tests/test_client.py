"""What the command line asks of a server, and what it says when there is no answer."""

import socket
from collections.abc import Iterator

import pytest

from asked import Server, asked
from trunkline.client import request
from trunkline.errors import StartupError


@pytest.fixture
def server() -> Iterator[Server]:
    with asked('{"data": 1}') as serving:
        yield serving


def test_a_request_has_the_key_and_names_the_account(server: Server) -> None:
    assert request(server.settings(), "DELETE", "/v2/{account}/x%20y") == {"data": 1}
    assert (server.methods, server.asked) == (["DELETE"], [("/v2/acc/x%20y", "Bearer KEY4567890123456")])


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, '{"errors": [{"detail": "Resource not found"}]}', "no call v3:x is known to http://127"),
        (401, '{"errors": [{"detail": "Who are you?"}]}', "answered 401: Who are you?"),
        (503, "{}", "answered 503: {}"),
        (200, "[]", r"answered 200: \[\]"),
        (500, '"' + "x" * 300 + '"', f'answered 500: "{"x" * 199}$'),
        (200, "no JSON", "no answer from http://127"),
    ],
)
def test_anything_but_a_200_with_an_object_is_one_line(server: Server, status: int, body: str, words: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(StartupError, match=words):
        request(server.settings(), "GET", "/x", unknown="no call v3:x is known")


def test_without_an_account_or_a_server_there_is_one_line_too(server: Server) -> None:
    for missing, words in (("account_sid", "set account_sid and api_key"), ("api_key", "--account_sid and --api_key")):
        with pytest.raises(StartupError, match=words):
            request(server.settings(**{missing: None}), "GET", "/x")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(
            StartupError, match=rf"no answer from http://127\.0\.0\.1:{port} \(http\.host, http\.port\)"
        ):
            request(server.settings(http={"port": port}), "GET", "/x")
        with pytest.raises(StartupError, match=rf"no answer from http://\[::1\]:{port} "):
            request(server.settings(http={"host": "::1", "port": port}), "GET", "/x")
    assert server.asked == []
