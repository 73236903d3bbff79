"""Trunkline: streams the media of real phone calls to any WebSocket, speaking the Telnyx TeXML Streams API."""

from trunkline import compiled as compiled  # first: it decides how the other modules are found

__version__ = "0.1.0"
USER_AGENT = f"Trunkline/{__version__}"
