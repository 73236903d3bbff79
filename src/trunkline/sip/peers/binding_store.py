"""Contacts of phones as a text that outlives a restart. Pure; the server stores the text.

Only contacts that can be reached by a new flow are restored. Over UDP that is every contact: our socket has the same
port as before, so a NAT in front of the phone lets our INVITE pass. A TCP connection ends with the server; a contact
over TCP is restored if its REGISTER came from the host that it names, and so from behind no NAT. Over TLS a phone has
no certificate for calls to it: it is reachable again when it registers again, which it does once its connection fails.
"""

from collections.abc import Callable, Sequence

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.peers.registrar import Binding
from trunkline.sip.targets import TRANSPORTS, next_hop


class StoredBinding(Struct, frozen=True):
    """A `Binding` in the text; the flow by its transport."""

    uri: str
    key: tuple[str, str]
    transport: str
    host: str
    port: int
    path: tuple[str, ...]
    call_id: str
    cseq: int
    expires_at: float
    """Seconds since 1970."""


def encode_bindings(bindings: Sequence[Binding], epoch: float) -> str:
    """The text. `epoch` is 1970 by the registrar's clock."""
    return encode(
        [
            StoredBinding(
                one.uri,
                one.key,
                one.flow.transport,
                one.source.host,
                one.source.port,
                one.path,
                one.call_id,
                one.cseq,
                one.expires_at - epoch,
            )
            for one in bindings
        ]
    ).decode()


def decode_bindings(text: str, epoch: float, connect: Callable[[str, Endpoint], Flow]) -> list[Binding]:
    """The contacts of a text that can be reached. `connect` gives the flow to an address over `udp` or `tcp`. Raises
    ValueError or LookupError."""
    try:
        found = decode(text, type=list[StoredBinding])
    except DecodeError as error:
        raise ValueError(str(error)) from error
    bindings = []
    for one in found:
        source = Endpoint(one.host, one.port)
        hop = next_hop(one.uri, one.path, TRANSPORTS[one.transport])
        if one.transport == "udp" or (one.transport == "tcp" and hop.host == source.host):
            flow = connect(one.transport, hop)
            expires_at = one.expires_at + epoch
            bindings.append(Binding(one.uri, one.key, flow, source, one.path, one.call_id, one.cseq, expires_at))
    return bindings
