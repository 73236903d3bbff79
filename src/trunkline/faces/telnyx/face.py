"""Telnyx: TeXML over REST, its documents, its callbacks, its media streams."""

from trunkline import ids
from trunkline.faces.face import Face
from trunkline.faces.telnyx.callbacks import CALLBACKS
from trunkline.faces.telnyx.events import EVENTS
from trunkline.faces.telnyx.rest import REST
from trunkline.ids import Ids, StreamSid
from trunkline.texml import document
from trunkline.webhooks.signing import Signer

TELNYX = Face(
    name="telnyx",
    ids=Ids(ids.call_sid, ids.CALL_SID_RANDOM, lambda random: StreamSid(ids.random_uuid(random))),
    rest=REST,
    callbacks=CALLBACKS,
    events=EVENTS,
    signer=Signer,
    document=document.parse,
)
