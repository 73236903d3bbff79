"""Sends each SIP message to a capture server over UDP, without waiting (driver). What cannot be sent is counted."""

import socket
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address

from trunkline.config import HepSettings
from trunkline.sip.hep import hep3
from trunkline.sip.pcap import place


class HepSender:
    """To `sip.hep.target`. `mask` writes a message without secrets; `counters` gets `hep_sent` and `hep_dropped`."""

    def __init__(self, settings: HepSettings, mask: Callable[[bytes], str], counters: Counter[str]) -> None:
        """Raises ValueError without a target."""
        if settings.target is None:
            raise ValueError("sip.hep.target is not set")
        address, port = place(settings.target)
        self._to = str(address), port
        self._settings = settings
        self._mask = mask
        self._counters = counters
        family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def seen(self, direction: str, data: bytes, local: str, peer: str, transport: str, at: datetime) -> None:
        """A message was `received` or `sent`."""
        source, destination = (peer, local) if direction == "received" else (local, peer)
        text = self._mask(data).encode("utf-8", "replace")
        agent, password = self._settings.id, self._settings.password
        try:
            packet = hep3(at, place(source), place(destination), transport, text, agent, password)
            self._socket.sendto(packet, self._to)
        except (OSError, ValueError):
            self._counters["hep_dropped"] += 1
        else:
            self._counters["hep_sent"] += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
