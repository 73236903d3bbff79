"""What a face consists of: the table that makes the server speak one public dialect.

    face.ids          how calls and streams are named
    face.rest         operations with fields, answers and errors  (faces/<face>/operations, fields, resources, errors)
    face.callbacks    what status callbacks say                   (faces/<face>/callbacks.py)
    face.events       calls and streams as events say them        (faces/<face>/events.py)
    face.signer       the key that signs requests to customers    (webhooks/signing.py)
    face.document     the language of instructions                (texml/document.py)

`server.py` chooses the face and hands each part to the room that works with it. Calls, media, playback, recordings and
`why` know no face. The messages of the WebSocket are a table too (streaming/messages.py); media workers import it
themselves, as long as there is one vocabulary.
"""

from dataclasses import dataclass

from trunkline.api.operation import RestFace
from trunkline.ids import Ids
from trunkline.live.feed import EventFace
from trunkline.texml.verbs import Read
from trunkline.webhooks.payloads import CallbackFace
from trunkline.webhooks.signing import Signer


@dataclass(frozen=True, slots=True)
class Face:
    """One dialect, whole."""

    name: str
    ids: Ids
    rest: RestFace
    callbacks: CallbackFace
    events: EventFace
    signer: type[Signer]
    """The key pair of the server, and the headers that sign a request."""
    document: Read
