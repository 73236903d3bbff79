"""Header grammar."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sip.message.headers import (
    COMPACT_NAMES,
    USER_CHARACTERS,
    one_line,
    parse_name_addr,
    parse_uri,
    parse_via,
    quoted_string,
    split_addresses,
    split_list,
)


@pytest.mark.parametrize(
    ("text", "name", "uri", "params"),
    [
        ("<sip:a@b>", "", "sip:a@b", {}),
        ("<sip:a@b>;tag=1;lr", "", "sip:a@b", {"tag": "1", "lr": ""}),
        ('"A \\"B\\", <C>" <sip:a@b;x=y>;Tag=1', 'A "B", <C>', "sip:a@b;x=y", {"tag": "1"}),
        ("Ann Caller <sip:a@b> ; tag = 1", "Ann Caller", "sip:a@b", {"tag": "1"}),
        ("<sip:a@b>;tag=1 ; ;\t", "", "sip:a@b", {"tag": "1"}),
        ("<sip:a@b>;", "", "sip:a@b", {}),
        ("sip:a@b;tag=1", "", "sip:a@b", {"tag": "1"}),
        ("sip:a@b", "", "sip:a@b", {}),
        ("tel:+15550001;tag=1", "", "tel:+15550001", {"tag": "1"}),
        ('<sip:a@b>;q="a;b"', "", "sip:a@b", {"q": '"a;b"'}),
        ("a@b.example <sip:a@b>;tag=1", "a@b.example", "sip:a@b", {"tag": "1"}),
        ("Doe, John <sip:a@b>;tag=1", "Doe, John", "sip:a@b", {"tag": "1"}),
        ("Room 1: door <sip:a@b>", "Room 1: door", "sip:a@b", {}),
        ("A; B <sip:a@b>;tag=1", "A; B", "sip:a@b", {"tag": "1"}),
        ('""unknown"" <sip:a@b>;tag=1', "unknown", "sip:a@b", {"tag": "1"}),
        ('"Joe "Bob" Smith" <sip:a@b>', "Joe Bob Smith", "sip:a@b", {}),
        ('"Ann"  Caller <sip:a@b>', "Ann Caller", "sip:a@b", {}),
        ('"C:\\" <sip:a@b>', "C:\\", "sip:a@b", {}),
        ('"" <sip:a@b>', "", "sip:a@b", {}),
        ("Ann   van  Dijk\t<sip:a@b>", "Ann van Dijk", "sip:a@b", {}),
        ("Jürgen Müller <sip:a@b>", "Jürgen Müller", "sip:a@b", {}),
        ('"Jürgen" <sips:a@b>', "Jürgen", "sips:a@b", {}),
        ('"J\\xfcrgen \\"M\\" \\x41" <sip:a@b>', 'Jürgen "M" x41', "sip:a@b", {}),
        ("J\\xfcrgen <sip:a@b>", "Jürgen", "sip:a@b", {}),
        ("'Ann' <sip:a@b>", "'Ann'", "sip:a@b", {}),
        ('"Anonymous" sip:a@b;tag=1', "Anonymous", "sip:a@b", {"tag": "1"}),
        ("Anonymous SIP:a@b ;tag=1", "Anonymous", "SIP:a@b", {"tag": "1"}),
        ('"+1 555"tel:+1555;tag=1', "+1 555", "tel:+1555", {"tag": "1"}),
        ("sip:a@b;user=phone;tag=1", "", "sip:a@b", {"user": "phone", "tag": "1"}),
        ("< sip:a@b >;tag=1", "", "sip:a@b", {"tag": "1"}),
        ("<sip:john doe@b>;tag=1", "", "sip:john%20doe@b", {"tag": "1"}),
        ("<tel:+1 201 555 0123>", "", "tel:+1%20201%20555%200123", {}),
    ],
)
def test_addresses(text: str, name: str, uri: str, params: dict[str, str]) -> None:
    parsed = parse_name_addr(text)
    assert (parsed.name, parsed.uri, parsed.params) == (name, uri, params)


@pytest.mark.parametrize(
    "text",
    [
        *("", "<sip:a@b", "sip:a@b>", "<>", "<sip:a@b> x", "a b", "a b:c", "<sip:a@b> <sip:c@d>", "sip:a@b x"),
        *('"A <sip:a@b>', '"A" <sip:a@b', '"<sip:a@b>" x', 'A" <sip:a@b>', '"A" "<sip:a@b>;tag=1'),
    ],
)
def test_broken_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"^malformed (address|parameters)$"):
        parse_name_addr(text)


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:+15550001@example.com", "+15550001", "example.com", None),
        ("sips:a%40b:secret@192.0.2.1:5061;transport=tcp?x=y", "a@b", "192.0.2.1", 5061),
        ("sip:+1555;phone-context=x@[2001:db8::1]:5070", "+1555", "2001:db8::1", 5070),
        ("SIP:example.com", "", "example.com", None),
        ("tel:+1-555-0001;ext=2", "+1-555-0001", "", None),
        ("TEL:%2B1(555)0001?x=y", "+1(555)0001", "", None),
        ("sip:@192.0.2.1", "", "192.0.2.1", None),
        ("sip:PBX#1000#90@b", "PBX#1000#90", "b", None),
        ("sip:ann@example.com@192.0.2.1:5070", "ann@example.com", "192.0.2.1", 5070),
        ("sip:ann@192.0.2.1;line=x@y", "ann", "192.0.2.1", None),
        ("sip:ann@192.0.2.1?From=x@y", "ann", "192.0.2.1", None),
        ("sip:ann@my_pbx.example:5070;ob", "ann", "my_pbx.example", 5070),
        ("sip:a?b;c=d@h", "a?b", "h", None),
    ],
)
def test_uris(text: str, user: str, host: str, port: int | None) -> None:
    uri = parse_uri(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)
    assert uri.display_user == (user or host)


@pytest.mark.parametrize(
    "text",
    [
        *("", "sip:", "sip:@", "sip:a@b:99999", "sip:a@b c", "<sip:a@b>", "sip:[::1", ":", "sip:a b@c", "a@b"),
        *("tel:", "tel:ann", "tel:+1;x y", "sip:a@b@", "sip:<@b"),
    ],
)
def test_broken_uris(text: str) -> None:
    with pytest.raises(ValueError, match=r"^malformed URI$|^port number out of range$"):
        parse_uri(text)


def test_another_uri_scheme_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match=r"^URI scheme http$"):
        parse_uri("http://example.com")


def test_vias() -> None:
    via = parse_via("SIP / 2.0 / UDP [2001:db8::1] : 5070 ;branch=z9hG4bKx; rport;received=192.0.2.1")
    assert (via.host, via.port) == ("2001:db8::1", 5070)
    assert via.params == {"branch": "z9hG4bKx", "rport": "", "received": "192.0.2.1"}
    assert parse_via("SIP/2.0/TCP pc33.example.com").port is None


@pytest.mark.parametrize("text", ["", "SIP/2.0/UDP", "SIP/7.0/UDP host", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP h;;,"])
def test_broken_vias(text: str) -> None:
    with pytest.raises(ValueError, match=r"^malformed (Via|parameters)$|^port number out of range$"):
        parse_via(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit", [" ", ";", '"', "<", ",", "a", ";a=", "; ", "\\", "=", ":", "@", "sip:", " sip:", "@a", ";@a", '"sip:a']
)
def test_long_malformed_values_are_parsed_quickly(unit: str) -> None:
    for head in ("SIP/2.0/UDP h;a=", "sip:a", "<sip:a@b>;x=", '"', "SIP/2.0/UDP h"):
        text = head + unit * (60000 // len(unit)) + "\0"
        for parser in (parse_name_addr, parse_uri, parse_via):
            with contextlib.suppress(ValueError, LookupError):
                parser(text)


def test_lists_are_split_at_separating_commas() -> None:
    assert split_list('"a, b" <sip:x,y@z>, <sip:c>;q="1,2" ,d') == ['"a, b" <sip:x,y@z>', '<sip:c>;q="1,2"', "d"]
    assert split_list(" one ") == ["one"]
    assert split_list('"\\", a", b') == ['"\\", a"', "b"]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("<sip:a@b>, sip:c@d", ["<sip:a@b>", "sip:c@d"]),
        ("Doe, John <sip:a@b>", ["Doe, John <sip:a@b>"]),
        ("Doe, John, PhD <sip:a@b>;q=1, X, Y <sip:c@d>", ["Doe, John, PhD <sip:a@b>;q=1", "X, Y <sip:c@d>"]),
        ("*", ["*"]),
        ("<sip:a@b>, rest", ["<sip:a@b>", "rest"]),
        ("nonsense", ["nonsense"]),
    ],
)
def test_a_display_name_with_commas_splits_no_addresses(text: str, addresses: list[str]) -> None:
    assert split_addresses(text) == addresses


def test_written_header_values_stay_on_one_line() -> None:
    assert one_line("a\r\nX-Evil: 1\0") == "a  X-Evil: 1 "
    assert quoted_string('say "hi"\\\r\n') == '"say \\"hi\\"\\\\  "'


@given(st.text(max_size=80) | st.text('<>";,=@:%\\ sip[]1a', max_size=40))
def test_any_text_is_parsed_or_a_clear_error(text: str) -> None:
    for parser in (parse_name_addr, parse_uri, parse_via, split_addresses):
        try:
            parser(text)
        except (ValueError, LookupError) as error:
            problem = str(error)
        else:
            problem = "none"
        assert problem
    assert "".join(split_list(text)).count(",") <= text.count(",")


def test_the_short_names_are_those_that_iana_has() -> None:
    short = {
        "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "e": "Content-Encoding", "f": "From",
        "i": "Call-ID", "k": "Supported", "l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To",
        "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires",
    }  # fmt: skip
    assert {name: full.lower() for name, full in short.items()} == COMPACT_NAMES


def test_the_user_of_a_uri_needs_no_escape_for_marks_and_user_unreserved() -> None:
    assert set(USER_CHARACTERS) == {*"-_.!~*'()"} | {*"&=+$,;?/"}
