"""A relay that drops each datagram the first time and passes its repetition; deterministic."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def losing(port: int) -> AsyncIterator[int]:
    """A port on 127.0.0.1 that leads to `port`, and back to the last sender."""
    loop = asyncio.get_running_loop()
    caller_side, server_side = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for side in (caller_side, server_side):
        side.bind(("127.0.0.1", 0))
        side.setblocking(False)
    server_side.connect(("127.0.0.1", port))
    callers: list[tuple[str, int]] = []
    lost: set[bytes] = set()

    def passes(datagram: bytes) -> bool:
        # An ACK is never repeated by itself, and a caller that hangs up at once does not wait until it has passed.
        seen = datagram in lost or datagram.startswith(b"ACK ")
        lost.add(datagram)
        return seen

    def there() -> None:
        datagram, caller = caller_side.recvfrom(65536)
        callers[:] = [caller]
        if passes(datagram):
            server_side.send(datagram)

    def back() -> None:
        datagram = server_side.recv(65536)
        if passes(datagram):
            caller_side.sendto(datagram, callers[0])

    loop.add_reader(caller_side, there)
    loop.add_reader(server_side, back)
    try:
        yield caller_side.getsockname()[1]
        assert lost, "nothing came this way"
    finally:
        for side in (caller_side, server_side):
            loop.remove_reader(side)
            side.close()
