"""Calls as known devices write them: each is understood, and can be ended."""

from dataclasses import dataclass

import pytest

from sip.bench import ANSWER, OFFER, Bench, header
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.validation import Rejection
from trunkline.sip.values import AcceptInvite, AckReceived, DialogEnded, EndDialog, InviteReceived

MIXED = "multipart/mixed;boundary=unique-boundary-1"
LOCATION = (
    f"--unique-boundary-1\r\nContent-Type: application/sdp\r\n\r\n{OFFER}\r\n"
    "--unique-boundary-1\r\nContent-Type: application/pidf+xml\r\nContent-ID: <ann@192.0.2.10>\r\n\r\n<presence/>\r\n"
    "--unique-boundary-1--\r\n"
)


@dataclass(frozen=True)
class Device:
    """What a device writes, and what we read from it."""

    sender: str
    from_user: str
    from_name: str = ""
    uri: str = "sip:+15550002@198.51.100.7"
    to_user: str = "+15550002"
    to: str = "<sip:+15550002@198.51.100.7>"
    contact: str = "<sip:101@192.0.2.10:5062>"
    target: str = "sip:101@192.0.2.10:5062"
    """Where our BYE goes."""
    lines: tuple[str, ...] = ()
    kind: str = "application/sdp"
    body: str = OFFER

    def request(self, method: str, tag: str = "", body: str = "") -> bytes:
        lines = [
            f"{method} {self.uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-{method};rport",
            f"From: {self.sender};tag=1c42",
            f"To: {self.to}{tag}",
            "Call-ID: 3c26-1",
            f"CSeq: 7 {method}",
            f"Contact: {self.contact}",
            "Max-Forwards: 70",
            *(self.lines if method == "INVITE" else ()),
            *([f"Content-Type: {self.kind}"] if body else []),
            f"Content-Length: {len(body.encode())}",
        ]
        return "\r\n".join([*lines, "", body]).encode()


DEVICES = {
    "a desk phone": Device(
        '"Ann" <sip:101@192.0.2.1:5060>',
        "101",
        "Ann",
        lines=("User-Agent: Yealink SIP-T46U 108.86.0.20", "Allow-Events: talk,hold,conference,refer,check-sync"),
    ),
    "a phone whose user has a comma in her name": Device("Doe, Ann <sip:101@192.0.2.1>", "101", "Doe, Ann"),
    "and in Contact": Device(
        "Doe, Ann <sip:101@192.0.2.1>", "101", "Doe, Ann", contact="Doe, Ann <sip:101@192.0.2.10:5062>;+sip.ice"
    ),
    "a line of a phone": Device(
        '"Ann" <sip:ann@pbx.example>',
        "ann",
        "Ann",
        contact='<sip:ann@192.0.2.10:1024;line=x7k2p>;reg-id=1;+sip.instance="<urn:uuid:1>"',
        target="sip:ann@192.0.2.10:1024;line=x7k2p",
        lines=('P-Key-Flags: resolution="31x13", keys="4"', "Supported: timer,100rel,replaces,from-change"),
    ),
    "a phone of a call manager": Device(
        '"Ann" <sip:4001@192.0.2.1>',
        "4001",
        "Ann",
        contact="<sip:8f1d-4001@192.0.2.10:5062;transport=udp>;video;bfcp",
        target="sip:8f1d-4001@192.0.2.10:5062;transport=udp",
        lines=(
            'Remote-Party-ID: "Ann" <sip:4001@192.0.2.1>;party=calling;screen=yes;privacy=off',
            "Call-Info: <urn:x-cisco-remotecc:callinfo>;security=NotAuthenticated;orientation=from",
            "Allow: INVITE, OPTIONS, BYE, CANCEL, ACK,PRACK,UPDATE,REFER,",
        ),
    ),
    "a PBX whose SDP names itself": Device(
        '"" <sip:4001@192.0.2.1>', "4001", body=OFFER.replace("o=-", "o=MX One").replace("t=0 0", "t=0 0\r\n")
    ),
    "a door": Device(
        "Room 1: door <sip:door@192.0.2.1>", "door", "Room 1: door", body=OFFER.replace("o=- 1 1 IN IP4 192.0.2.10", "")
    ),
    "a gateway that quotes twice": Device('""unknown"" <sip:101@192.0.2.1>', "101", "unknown"),
    "a gateway without a caller's number": Device('"Anonymous" <sip:@192.0.2.1>', "192.0.2.1", "Anonymous"),
    "a gateway without brackets": Device(
        '"Anonymous" sip:anonymous@192.0.2.1', "anonymous", "Anonymous", to="sip:+15550002@198.51.100.7;user=phone"
    ),
    "a caller who withholds his number": Device(
        '"Anonymous" <sip:anonymous@anonymous.invalid>',
        "anonymous",
        "Anonymous",
        lines=("Privacy: id", "P-Preferred-Identity: <sip:101@pbx.example>"),
    ),
    "a soft phone with blanks": Device(
        "Ann  <sip:ann lee@192.0.2.1>",
        "ann lee",
        "Ann",
        contact="<sip:ann lee@192.0.2.10:5062>",
        target="sip:ann%20lee@192.0.2.10:5062",
    ),
    "a soft phone whose user is an e-mail address": Device(
        "ann@example.com <sip:ann@example.com@192.0.2.1>",
        "ann@example.com",
        "ann@example.com",
        contact="<sip:ann@example.com@192.0.2.10:5062;ob>",
        target="sip:ann@example.com@192.0.2.10:5062;ob",
    ),
    "a carrier of numbers": Device(
        '"Jürgen Müller" <tel:+49-30-1234567>',
        "+49301234567",
        "Jürgen Müller",
        uri="tel:+1-555-0002",
        to_user="+15550002",
        to="<tel:+1-555-0002>",
        lines=("P-Asserted-Identity: <tel:+49-30-1234567>", "History-Info: <sip:+15550002@ims.example>;index=1"),
    ),
    "an IMS core": Device(
        "<sip:+49301234567@ims.example;user=phone>",
        "+49301234567",
        uri="sip:5550002;phone-context=+1@198.51.100.7;user=phone",
        lines=("P-Early-Media: supported", "P-Charging-Vector: icid-value=1;orig-ioi=ims.example"),
    ),
    "an emergency call": Device(
        "<sips:101@192.0.2.1>",
        "101",
        lines=("Geolocation: <cid:ann@192.0.2.10>", "Geolocation-Routing: yes"),
        kind=MIXED,
        body=LOCATION,
    ),
}


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_call_of_a_known_device_is_accepted_and_ended(bench: Bench, device: Device) -> None:
    bench.receive(device.request("INVITE", body=device.body))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    assert (invite.from_user, invite.from_name, invite.to_user) == (
        device.from_user,
        device.from_name,
        device.to_user,
    )
    assert invite.offer is not None
    assert [media.port for media in invite.offer.media] == [4000]
    bench.wire.take()
    bench.perform(AcceptInvite(invite.dialog, ANSWER))
    (ok,) = bench.wire.take()
    assert header(ok, "From") == f"{device.sender};tag=1c42", "as it came"
    tag = ";tag=" + header(ok, "To").rpartition("tag=")[2]
    bench.receive(device.request("ACK", tag))
    assert bench.event() == AckReceived(invite.dialog, None)
    bench.perform(EndDialog(invite.dialog))
    (bye,) = bench.wire.take()
    assert bye.startswith(f"BYE {device.target} SIP/2.0\r\n")
    assert header(bye, "To") == f"{device.sender};tag=1c42"


@pytest.mark.parametrize("name", ['"Jürgen"', "Jürgen"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_display_name_in_either_encoding_is_decoded(bench: Bench, name: str, encoding: str) -> None:
    device = Device("NAME <sip:101@192.0.2.1>", "101")
    bench.receive(device.request("INVITE", body=OFFER).replace(b"NAME", name.encode(encoding)))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    assert invite.from_name == "Jürgen"


def taken(bench: Bench, device: Device) -> InviteReceived:
    """A call that is answered, and not confirmed."""
    bench.receive(device.request("INVITE", body=device.body))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    bench.perform(AcceptInvite(invite.dialog, ANSWER))
    bench.wire.take()
    return invite


@pytest.mark.parametrize("tag", ["", ";tag=made-up"])
def test_a_library_with_invented_to_tags_confirms_and_ends_its_call(bench: Bench, tag: str) -> None:
    device = DEVICES["a desk phone"]
    invite = taken(bench, device)
    bench.receive(device.request("ACK", tag))
    assert bench.event() == AckReceived(invite.dialog, None)
    bench.receive(device.request("BYE").replace(b"CSeq: 7", b"CSeq: 8"))
    assert bench.wire.take_lines() == ["200 OK"]
    assert bench.event() == DialogEnded(invite.dialog, "bye", "")


def test_requests_without_our_tag_count_only_from_the_peer_and_move_nothing(bench: Bench) -> None:
    device = DEVICES["a desk phone"]
    invite = taken(bench, device)
    elsewhere = Endpoint("203.0.113.9", 5060)
    bench.receive(device.request("ACK", ";tag=made-up"), source=elsewhere)
    with pytest.raises(Rejection, match=r"^481 Call/Transaction Does Not Exist$"):
        bench.receive(device.request("BYE").replace(b"CSeq: 7", b"CSeq: 8"), source=elsewhere)
    assert bench.events == [], "from elsewhere"
    bench.receive(device.request("ACK", ";tag=made-up").replace(b"CSeq: 7", b"CSeq: 6"))
    assert bench.events == [], "for another INVITE"
    assert bench.refused(device.request("BYE", ";tag=other").replace(b"CSeq: 7", b"CSeq: 8")).status == 481
    bench.receive(device.request("ACK", ";tag=made-up", body=" "))
    assert bench.event() == AckReceived(invite.dialog, None)
    bench.perform(EndDialog(invite.dialog))
    assert [to.host for _, to in bench.wire.sent] == ["192.0.2.10"]


def test_a_device_that_quotes_twice_ends_its_call(bench: Bench) -> None:
    device = DEVICES["a gateway that quotes twice"]
    bench.receive(device.request("INVITE", body=device.body))
    invite = bench.event()
    bench.perform(AcceptInvite(invite.dialog, ANSWER))
    tag = ";tag=" + header(bench.wire.take()[-1], "To").rpartition("tag=")[2]
    bench.receive(device.request("ACK", tag))
    bench.event()
    bench.receive(device.request("BYE", tag).replace(b"CSeq: 7", b"CSeq: 8"))
    assert bench.event() == DialogEnded(invite.dialog, "bye", "")
    assert bench.wire.take_lines() == ["200 OK"]
