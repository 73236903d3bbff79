"""An application on the web: gives the answers that the test sets, and keeps the requests."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from trunkline.demo.callbacks import Callback, CallbackReceiver
from trunkline.demo.watch import Watch


@dataclass(frozen=True)
class Answer:
    """Of one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def texml(verbs: str) -> Answer:
    """A document."""
    return Answer(f"<Response>{verbs}</Response>".encode(), headers={"Content-Type": "application/xml"})


class WebApp:
    """Use as an async context manager. A path that has no answer is answered with 404; `None` = never."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """`port` is where it listens, 0 = any."""
        self._port, self._host = port, host
        self.answers: dict[str, Answer | Callable[[Callback], Answer] | None] = {}
        self.received: list[Callback] = []
        self.watch = Watch()
        self._connections: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "WebApp":
        self._server = await asyncio.start_server(self._serve, self._host, self._port)
        self.url = f"http://{self._host}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._connections:
            writer.close()
        await self._server.wait_closed()

    def asked(self, path: str) -> list[Callback]:
        """The requests for a path so far."""
        return [request for request in self.received if request.path.partition("?")[0] == path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(await CallbackReceiver._read(reader), reader, writer):
                    pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, request: Callback, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.received.append(request)
        self.watch.changed()
        answer = self.answers.get(request.path.partition("?")[0], Answer(status=404))
        if answer is None:
            await reader.read()
            return False
        if not isinstance(answer, Answer):
            answer = answer(request)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode() + answer.body)
        await writer.drain()
        return True
