"""The number of a URI, and where a trunk sends the called number."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import plain_number
from trunkline.sdp.values import Endpoint
from trunkline.setting_tables import TrunkSettings
from trunkline.sip.message.headers import parse_uri
from trunkline.sip.message.numbers import called_number, number_of
from trunkline.sip.values import DialogId, InviteReceived


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+12015550123", "+12015550123"),
        ("+1-201-555-0123", "+12015550123"),
        ("+1 (201) 555.0123", "+12015550123"),
        ("(201) 555-0123", "2015550123"),
        ("201.555.0123", "2015550123"),
        ("+49-30", "+4930"),
        ("*31*030-1234567", "*31*0301234567"),
        ("100-200", "100-200"),
        ("192.168.10.20", "192.168.10.20"),
        ("1-800-FLOWERS", "1-800-FLOWERS"),
        ("john-doe", "john-doe"),
        ("sales.team", "sales.team"),
        ("bot (test)", "bot (test)"),
        ("+", "+"),
        ("-", "-"),
        ("+1+2-3", "+1+2-3"),
        ("", ""),
        ("٠١٢-٣٤٥٦٧٨", "٠١٢-٣٤٥٦٧٨"),
    ],
)
def test_separators_are_dropped_from_numbers_and_names_stay_untouched(text: str, number: str) -> None:
    assert plain_number(text) == number


@given(st.text("+0123456789-.() *#ab", max_size=20))
def test_only_separators_are_dropped_from_numbers(text: str) -> None:
    for marked in (False, True):
        plain = plain_number(text, marked=marked)
        assert plain in (text, "".join(character for character in text if character not in "-.() "))
        assert plain_number(plain, marked=marked) == plain


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("tel:+12015550123", "+12015550123"),
        ("tel:+1-201-555-0123", "+12015550123"),
        ("tel:+1(201)555.0123;isub=1", "+12015550123"),
        ("tel:7-77", "777"),
        ("tel:2015550123;phone-context=+1", "+12015550123"),
        ("tel:201-555-0123;ext=5;Phone-Context=+1-", "+12015550123"),
        ("tel:0123;phone-context=example.com", "0123"),
        ("tel:+44123;phone-context=+1", "+44123"),
        ("tel:*21;phone-context=+1", "*21"),
        ("sip:+1-201-555-0123@h;user=phone", "+12015550123"),
        ("sip:+1-201-555-0123@h", "+12015550123"),
        ("sip:(201)%20555-0123@h", "2015550123"),
        ("sip:1-23@h;user=phone", "123"),
        ("sip:1-23@h", "1-23"),
        ("sip:2015550123;phone-context=+1@h;user=phone", "+12015550123"),
        ("sip:2015550123;phone-context=%2B1@h", "+12015550123"),
        ("sip:+12015550123;npdi;rn=+12015559999@h;user=phone", "+12015550123"),
        ("sip:%2B12015550123@h", "+12015550123"),
        ("sip:sales-team@h;user=phone", "sales-team"),
        ("sips:ann.b@h", "ann.b"),
        ("sip:192.0.2.10", ""),
    ],
)
def test_the_number_of_a_uri(uri: str, number: str) -> None:
    assert number_of(parse_uri(uri)) == number


INVITE = InviteReceived(
    dialog=DialogId(1),
    from_uri="sip:+1555@carrier.example",
    from_user="+1555",
    from_name="",
    to_uri="sip:us@192.0.2.1",
    to_user="us",
    offer=None,
    headers=(),
    source=Endpoint("192.0.2.1", 5060),
    transport="udp",
    call_id="x",
)
TO = "sip:+1-201-555-0123@carrier.example;user=phone"
ALSO = "tel:+1-201-555-0199"


@pytest.mark.parametrize(
    ("where", "to_user", "to_uri", "called_party", "number"),
    [
        ("auto", "+12015550100", TO, ALSO, "+12015550100"),
        ("auto", "us", TO, "", "+12015550123"),
        ("auto", "us", TO, ALSO, "+12015550199"),
        ("auto", "us", "sip:carrier.example", "", "us"),
        ("auto", "us", "http://x", "nonsense", "us"),
        ("request-uri", "us", TO, ALSO, "us"),
        ("to", "+12015550100", TO, ALSO, "+12015550123"),
        ("to", "+12015550100", "sip:carrier.example", ALSO, "+12015550100"),
        ("p-called-party-id", "+12015550100", TO, ALSO, "+12015550199"),
        ("p-called-party-id", "+12015550100", TO, "", "+12015550100"),
    ],
)
def test_the_called_number_is_read_where_the_trunk_setting_says(
    where: Any, to_user: str, to_uri: str, called_party: str, number: str
) -> None:
    trunk = TrunkSettings(name="t", targets=("sip:192.0.2.1",), username="us", called_number=where)
    invite = replace(INVITE, to_user=to_user, to_uri=to_uri, called_party=called_party)
    assert called_number(trunk, invite) == number


def test_a_registered_user_that_is_a_number_is_the_called_number() -> None:
    trunk = TrunkSettings(name="t", targets=("sip:192.0.2.1",), username="+12015550100")
    invite = replace(INVITE, to_user="+12015550100", to_uri=TO)
    assert called_number(trunk, invite) == "+12015550100", "To has the number that was called before a diversion"
    assert called_number(trunk, replace(invite, called_party=ALSO)) == "+12015550199"
