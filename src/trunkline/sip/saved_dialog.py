"""A dialog as a text that outlives a crash, so that the next life can send the BYE. Pure; the server stores the text.

Of credentials only the trunk's name is in it, so that the next life answers a challenge to the BYE with those of its
settings; a peer that challenges others ends the call by its own timers. A connection ends with the
process, so over TCP and TLS the BYE goes by a new one, which a peer behind a NAT does not get.
"""

from collections.abc import Callable

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import Dialog, DialogState, Hop
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.targets import TRANSPORTS, next_hop
from trunkline.sip.values import DialogId

CSEQ_STEP = 1000
"""More requests than a dialog has sent since it was saved: the CSeq number of the BYE must be above all of them."""


class SavedDialog(Struct, frozen=True, omit_defaults=True):
    """A `Dialog` in the text; the flow by its transport."""

    call_id: str
    local: str
    local_tag: str
    remote: str
    remote_tag: str
    remote_target: str
    route_set: tuple[str, ...]
    transport: str
    source: tuple[str, int]
    local_cseq: int
    remote_cseq: int
    direct: bool = False
    hop: tuple[str, int | None, str, int] | None = None
    """Host and port of a URI, and the address that it has."""
    trunk: str = ""


def encode_dialog(dialog: Dialog) -> str:
    """The text."""
    hop = dialog.hop
    return encode(
        SavedDialog(
            dialog.call_id,
            dialog.local,
            dialog.local_tag,
            dialog.remote,
            dialog.remote_tag,
            dialog.remote_target,
            dialog.route_set,
            dialog.flow.transport,
            (dialog.source.host, dialog.source.port),
            dialog.local_cseq,
            dialog.remote_cseq,
            dialog.direct,
            None if hop is None else (hop.host, hop.port, hop.endpoint.host, hop.endpoint.port),
            dialog.trunk,
        )
    ).decode()


def decode_dialog(text: str, id_: DialogId, connect: Callable[[str, Endpoint], Flow]) -> Dialog:
    """The dialog, confirmed, by a flow of `connect` to its next hop. Raises ValueError or LookupError."""
    try:
        saved = decode(text, type=SavedDialog)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    hop = None if saved.hop is None else Hop(*saved.hop[:2], Endpoint(*saved.hop[2:]))
    to = next_hop(saved.remote_target, saved.route_set, TRANSPORTS[saved.transport])
    if hop is not None and not saved.route_set and to.host == hop.host:
        to = hop.endpoint
    return Dialog(
        id=id_,
        call_id=saved.call_id,
        local_tag=saved.local_tag,
        remote_tag=saved.remote_tag,
        local=saved.local,
        remote=saved.remote,
        remote_target=saved.remote_target,
        route_set=saved.route_set,
        flow=connect(saved.transport, to),
        source=Endpoint(*saved.source),
        state=DialogState.CONFIRMED,
        remote_cseq=saved.remote_cseq,
        direct=saved.direct,
        local_cseq=saved.local_cseq + CSEQ_STEP,
        hop=hop,
        trunk=saved.trunk,
    )
