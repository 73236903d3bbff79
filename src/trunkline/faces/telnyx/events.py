"""How calls and streams look in events (docs/reference/events.md): as in the answers of the API. Pure."""

from trunkline.faces.telnyx import resources
from trunkline.live.feed import EventFace

EVENTS = EventFace(call=resources.call, stream=resources.stream)
