"""HEP3 packets, by their bytes. `peers/test_sip_trace.py` has Kamailio read them."""

from datetime import UTC, datetime

import pytest

from trunkline.sip.hep import PACKET_LIMIT, hep3
from trunkline.sip.pcap import place

NOW = datetime(2034, 1, 31, 12, 0, 0, 250_000, UTC)
V4, V6 = place("192.0.2.1:5060"), place("[2001:db8::1]:5061")


def test_a_packet_is_its_length_and_its_chunks() -> None:
    packet = hep3(NOW, V4, place("192.0.2.9:5062"), "udp", b"INVITE", 2001, "pw")
    assert packet.hex(" ", -4).replace(" ", "") == (
        "48455033" "0071"
        "0000 0001 0007 02" "0000 0002 0007 11" "0000 0003 000a c0000201" "0000 0004 000a c0000209"
        "0000 0007 0008 13c4" "0000 0008 0008 13c6" "0000 0009 000a 788a2dc0" "0000 000a 000a 0003d090"
        "0000 000b 0007 01" "0000 000c 000a 000007d1" "0000 000e 0008 7077" "0000 000f 000c 494e56495445"
    ).replace(" ", "")  # fmt: skip


def test_an_ipv4_address_among_ipv6_ones_is_mapped() -> None:
    packet = hep3(NOW, V4, V6, "tls", b"", 1, None)
    assert packet[6:20] == bytes.fromhex("0000000100070a 00000002000706")
    assert bytes.fromhex("0000 0005 0016 00000000000000000000ffffc0000201") in packet
    assert bytes.fromhex("0000 0006 0016 20010db8000000000000000000000001") in packet


def test_what_no_datagram_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        hep3(NOW, V4, V4, "udp", bytes(PACKET_LIMIT), 1, None)
