"""Connected sockets (driver): a name is looked up, its addresses are checked, one that may be dialled is dialled.

The rules of `egress` see addresses, not names: the address that they allow is the one that is dialled, even if DNS
changes.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import cache

from trunkline.outbound.egress import Egress, Forbidden
from trunkline.outbound.names import Names, UnknownHost

ADDRESS_TIMEOUT = 1.0
"""Seconds that one address of a host may take to answer while there are others: about how long a lost first packet
takes to be repeated (RFC 6298 section 2). An unreachable address must not use up the whole timeout."""


@cache
def system_certificates() -> ssl.SSLContext:
    """The system's certificates, which take a tenth of a second to read."""
    return ssl.create_default_context()


class Dialler:
    """Dials for one loop."""

    def __init__(self, names: Names, egress: Egress | None = None) -> None:
        """`egress` None: private addresses are dialled too."""
        self._names = names
        self._egress = egress or Egress()

    async def stop(self) -> None:
        """Give up what is being looked up."""
        await self._names.stop()

    async def dial(
        self,
        host: str,
        port: int,
        prepare: Callable[[socket.socket], None] | None = None,
        *,
        account: str = "",
        configured: bool = False,
    ) -> socket.socket:
        """A socket to the first of the host's addresses that answers, not blocking; `prepare` is called with it before
        it connects. `account` is the one that asks for it; `configured`: the operator has named the destination, or SIP
        has. Raises OSError: UnknownHost, Forbidden, or the last address's failure."""
        configured = configured or self._egress.is_configured(account, host, port)
        found = await self._names.look_up(host)
        addresses = self._egress.allowed(host, found.addresses, configured=configured)
        failure: OSError = UnknownHost(host, "the name has no address")
        for number, address in enumerate(addresses, 1):
            try:
                return await _connect(address, port, prepare, ADDRESS_TIMEOUT if number < len(addresses) else None)
            except OSError as problem:
                problem.__traceback__ = None  # its frames hold the exception itself
                failure = problem
        try:
            raise failure
        finally:
            del failure


async def _connect(
    address: str, port: int, prepare: Callable[[socket.socket], None] | None, seconds: float | None
) -> socket.socket:
    ((family, kind, protocol, _, where), *_) = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )
    with contextlib.ExitStack() as on_failure:
        sock = on_failure.enter_context(socket.socket(family, kind, protocol))
        sock.setblocking(False)
        if prepare is not None:
            prepare(sock)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, where)
        on_failure.pop_all()
    return sock


NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
"""OpenSSL's reasons when the answer to its hello is no TLS; which one depends on its version and on the answer."""


def dial_words(problem: Exception, host: str, port: int) -> str:
    """Why a place could not be dialled, for people. The URL is not repeated: it may hold secrets."""
    place = f"{host} port {port}"
    match problem:
        case UnknownHost():
            return f"DNS: {problem}"
        case Forbidden():
            return str(problem)
        case ConnectionRefusedError():
            return f"connection refused by {place}"
        case ssl.SSLCertVerificationError():
            return f"TLS: the certificate of {place} is not valid: {problem.verify_message}"
        case ssl.SSLError(reason=reason) if reason in NO_TLS:
            return f"{place} does not speak TLS: is it ws:// or http://, without the s?"
        case ssl.SSLError():
            return f"TLS with {place} failed: {problem.reason or problem}"
        case ConnectionError():
            return f"{place} broke off the connection"
        case TimeoutError():
            return f"timeout: no connection to {place}"
        case OSError():
            return f"no connection to {place}: {problem.strerror or problem}"
        case _:
            return f"no proper answer from {place}: {problem}"
