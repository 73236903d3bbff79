"""A server that answers what a test sets, for what the command line asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from trunkline.config import Settings


class Server:
    """Answers each request with what is set here."""

    def __init__(self, body: str) -> None:
        self.status, self.body = 200, body
        self.asked: list[tuple[str, str | None]] = []
        self.methods: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.methods.append(self.command)
                outer.asked.append((self.path, self.headers["authorization"]))
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.body.encode())

            do_POST = do_DELETE = do_GET  # noqa: N815 - the name that BaseHTTPRequestHandler looks for

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)

    def settings(self, **more: Any) -> Settings:
        given = {"account_sid": "acc", "api_key": "KEY4567890123456", "http": {"port": self.http.server_port}, **more}
        return Settings.model_validate(given)


@contextmanager
def asked(body: str) -> Iterator[Server]:
    """It runs, and answers 200 with this."""
    serving = Server(body)
    thread = threading.Thread(target=serving.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.http.shutdown()
    thread.join()
    serving.http.server_close()
