"""Messages to a capture server: sent or counted."""

import socket
from collections import Counter
from datetime import UTC, datetime

import pytest

from trunkline.config import HepSettings
from trunkline.sip.hep import PACKET_LIMIT
from trunkline.sip.trace import Mask
from trunkline.sip.transport.hep_sender import HepSender

NOW = datetime(2034, 1, 31, 12, tzinfo=UTC)
ENDS = ("192.0.2.9:5060", "192.0.2.1:5062", "udp")
PORTS = {"received": "0000 0007 0008 13c6 0000 0008 0008 13c4", "sent": "0000 0007 0008 13c4 0000 0008 0008 13c6"}


@pytest.mark.parametrize("direction", PORTS)
def test_a_message_goes_out_without_secrets(direction: str) -> None:
    counters: Counter[str] = Counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as capture:
        capture.bind(("127.0.0.1", 0))
        settings = HepSettings(target=f"127.0.0.1:{capture.getsockname()[1]}")
        sender = HepSender(settings, Mask(), counters)
        sender.seen(direction, b"A: b\r\nAuthorization: Basic secret\r\n\r\n", *ENDS, NOW)
        packet = capture.recv(65536)
        sender.close()
    assert bytes.fromhex(PORTS[direction]) in packet
    assert packet.endswith(b"A: b\r\nAuthorization: (left out)\r\n\r\n")
    assert counters == {"hep_sent": 1}


def test_what_cannot_be_sent_is_counted() -> None:
    counters: Counter[str] = Counter()
    sender = HepSender(HepSettings(target="127.0.0.1:9"), Mask(), counters)
    sender.seen("sent", bytes(PACKET_LIMIT), *ENDS, NOW)
    sender.close()
    sender.seen("sent", b"INVITE", *ENDS, NOW)
    assert counters == {"hep_dropped": 2}


def test_without_a_target_there_is_no_sender() -> None:
    with pytest.raises(ValueError, match=r"sip\.hep\.target"):
        HepSender(HepSettings(), Mask(), Counter())


def test_a_target_is_an_address_and_a_port() -> None:
    for target in ("192.0.2.1:9060", "[2001:db8::1]:1"):
        assert HepSettings(target=target).target == target
    for wrong in ("homer:9060", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:x", "2001:db8::1:9", "[192.0.2.1]:9"):
        with pytest.raises(ValueError, match="must be an address and a port"):
            HepSettings(target=wrong)
