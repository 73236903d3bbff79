"""SIP messages as a pcap file: read by tshark."""

import shutil
import subprocess
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from trunkline.sip.pcap import DATAGRAM_LIMIT, Packet, pcap, place

NOW = datetime(2034, 1, 31, 12, 0, 0, 250_000, UTC)
FIELDS = (
    *("frame.time_epoch", "ip.src", "ipv6.src", "udp.srcport", "ip.dst", "ipv6.dst", "udp.dstport", "sip.Method"),
    *("sip.Call-ID", "udp.length"),
)
INVITE = b"INVITE sip:+1@host SIP/2.0\r\nCall-ID: a@host\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP host\r\n\r\n"


def test_a_place_is_an_address_and_a_port() -> None:
    assert [str(part) for part in place("[2001:db8::1]:5060")] == ["2001:db8::1", "5060"]
    assert place("192.0.2.1:5061") == (IPv4Address("192.0.2.1"), 5061)
    assert place("sip.example.com:5060") == (IPv4Address(0), 5060)


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (Debian: tshark)")
def test_tshark_reads_each_message_where_it_went(tmp_path: Path) -> None:
    ways = (("192.0.2.1:5060", "192.0.2.9:15060"), ("[2001:db8::1]:5060", "[2001:db8::2]:5061"),
            ("192.0.2.1:5060", "[2001:db8::2]:5060"), ("name.example:5060", "192.0.2.9:5060"))  # fmt: skip
    path = tmp_path / "a.pcap"
    packets = [Packet(NOW, place(source), place(to), INVITE) for source, to in ways]
    path.write_bytes(pcap([*packets, Packet(NOW, place("192.0.2.1:9"), place("192.0.2.2:9"), b"x" * 70_000)]))
    checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    command = ("tshark", "-r", str(path), *checked, "-T", "fields", *(word for one in FIELDS for word in ("-e", one)))
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    about = ["INVITE", "a@host", str(8 + len(INVITE))]
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1:] for row in rows] == [
        ["192.0.2.1", "", "5060", "192.0.2.9", "", "15060", *about],
        ["", "2001:db8::1", "5060", "", "2001:db8::2", "5061", *about],
        ["", "::ffff:192.0.2.1", "5060", "", "2001:db8::2", "5060", *about],
        ["0.0.0.0", "", "5060", "192.0.2.9", "", "5060", *about],
        ["192.0.2.1", "", "9", "192.0.2.2", "", "9", "", "", str(8 + DATAGRAM_LIMIT)],
    ]
    assert float(rows[0][0]) == NOW.timestamp()
    bad = (*command[:3], *checked, "-Y", "ip.checksum.status == 0 or udp.checksum.status == 0")
    assert not subprocess.run(bad, capture_output=True, text=True, check=True, timeout=120).stdout
