"""Dialogs as texts that outlive a crash."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import Dialog, DialogState, Hop
from trunkline.sip.saved_dialog import decode_dialog, encode_dialog
from trunkline.sip.values import Credentials, DialogId


@dataclass
class Wire:
    transport: str = "udp"
    to: Endpoint | None = None
    local: Endpoint = field(default_factory=lambda: Endpoint("192.0.2.1", 5060))

    def send(self, data: bytes, to: Endpoint) -> None:
        raise AssertionError("nothing is sent yet")

    def admitted(self, *, identified: bool) -> None:
        raise AssertionError("nothing is received yet")


def dialog(**changes: Any) -> Dialog:
    given: dict[str, Any] = {
        "id": DialogId(7),
        "call_id": "c@h",
        "local_tag": "us",
        "remote_tag": "them",
        "local": '"Bot" <sip:2@us>;tag=us',
        "remote": "<sip:1@them>;tag=them",
        "remote_target": "sip:1@192.0.2.9:5070",
        "route_set": (),
        "flow": Wire(),
        "source": Endpoint("192.0.2.9", 5071),
        "state": DialogState.CONFIRMED,
        "remote_cseq": 5,
        "local_cseq": 3,
    }
    return Dialog(**(given | changes))


def again(saved: Dialog) -> Dialog:
    return decode_dialog(encode_dialog(saved), DialogId(1), Wire)


@pytest.mark.parametrize("direct", [False, True])
def test_a_bye_goes_where_it_would_have_gone(direct: bool) -> None:
    before = dialog(direct=direct)
    bye = again(before).request("BYE")
    assert (bye.uri, bye.from_, bye.to, bye.call_id) == (
        "sip:1@192.0.2.9:5070", '"Bot" <sip:2@us>;tag=us', "<sip:1@them>;tag=them", "c@h",
    )  # fmt: skip
    assert bye.target == before.request("BYE").target == Endpoint("192.0.2.9", 5071 if direct else 5070)
    assert bye.cseq == 3 + 1000 + 1


def test_a_route_set_is_kept() -> None:
    routes = ("<sip:198.51.100.1;lr>", "<sip:198.51.100.2;lr>")
    found = again(dialog(route_set=routes))
    bye = found.request("BYE")
    assert (bye.routes, bye.target) == (routes, Endpoint("198.51.100.1", 5060))
    assert found.flow == Wire("udp", Endpoint("198.51.100.1", 5060))


def test_the_address_that_dns_gave_is_kept() -> None:
    hop = Hop("them.test", None, Endpoint("192.0.2.77", 5080))
    found = again(dialog(remote_target="sip:1@them.test", hop=hop, flow=Wire("tcp")))
    assert found.flow == Wire("tcp", Endpoint("192.0.2.77", 5080))
    assert found.request("BYE").target == Endpoint("192.0.2.77", 5080)


def test_the_name_of_the_trunk_is_kept_and_no_password() -> None:
    text = encode_dialog(dialog(trunk="carrier", credentials=Credentials("us", "s3cret")))
    assert "s3cret" not in text
    found = decode_dialog(text, DialogId(1), Wire)
    assert (found.trunk, found.credentials) == ("carrier", None)
    assert again(dialog()).trunk == ""


def test_a_peer_finds_the_dialog_by_the_same_key() -> None:
    before = dialog()
    assert again(before).key == before.key
    assert again(before).state is DialogState.CONFIRMED
    assert again(before).remote_cseq == before.remote_cseq


def test_a_text_of_an_earlier_version_is_read() -> None:
    text = (
        '{"call_id":"c@h","local":"<sip:2@us>","local_tag":"us","remote":"<sip:1@them>","remote_tag":"them",'
        '"remote_target":"sip:1@192.0.2.9:5070","route_set":[],"transport":"tcp","source":["192.0.2.9",5071],'
        '"local_cseq":3,"remote_cseq":5}'
    )
    found = decode_dialog(text, DialogId(1), Wire)
    assert (found.direct, found.hop, found.source) == (False, None, Endpoint("192.0.2.9", 5071))
    assert found.request("BYE").target == Endpoint("192.0.2.9", 5070)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"call_id": 1}', "\ufffd"])
def test_a_text_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_dialog(text, DialogId(1), Wire)
