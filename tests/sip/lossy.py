"""A way for datagrams on which each one is lost the first time; repeated, it passes. No chance, no flakes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def losing(port: int) -> AsyncIterator[int]:
    """A port on 127.0.0.1 that leads to `port`, and back to the last sender."""
    loop = asyncio.get_running_loop()
    near, far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for side in (near, far):
        side.bind(("127.0.0.1", 0))
        side.setblocking(False)
    far.connect(("127.0.0.1", port))
    callers: list[tuple[str, int]] = []
    lost: set[bytes] = set()

    def passes(datagram: bytes) -> bool:
        # An ACK is never repeated by itself, and a caller that hangs up at once does not wait until it has passed.
        seen = datagram in lost or datagram.startswith(b"ACK ")
        lost.add(datagram)
        return seen

    def there() -> None:
        datagram, caller = near.recvfrom(65536)
        callers[:] = [caller]
        if passes(datagram):
            far.send(datagram)

    def back() -> None:
        datagram = far.recv(65536)
        if passes(datagram):
            near.sendto(datagram, callers[0])

    loop.add_reader(near, there)
    loop.add_reader(far, back)
    try:
        yield near.getsockname()[1]
        assert lost, "nothing came this way"
    finally:
        for side in (near, far):
            loop.remove_reader(side)
            side.close()
