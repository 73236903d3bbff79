"""Session descriptions from text and to text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.sdp.session import ConnectionData, MediaDescription, SessionDescription, parse
from trunkline.sdp.values import SdpError

FORMAT_LIMIT = 64
LINE_LIMIT = 1000
MEDIA_LIMIT = 32
SIZE_LIMIT = 16_384

HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def test_a_description_is_cut_into_its_parts() -> None:
    session = parse(
        HEAD
        + b"a=sendonly\r\nm=audio 4000/2 RTP/AVP 0 101\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:101 telephone-event/8000\r\n"
        b"a=rtcp-mux\r\nm=video 0 RTP/AVP 96\r\n"
    )
    assert session.connection == ConnectionData("IP4", "192.0.2.1")
    assert session.attribute("sendonly") == ""
    assert session.attribute("inactive") is None
    audio, video = session.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 4000, "RTP/AVP", ("0", "101"))
    assert audio.connection == ConnectionData("IP6", "2001:db8::1")
    assert audio.attribute("rtpmap") == "101 telephone-event/8000"
    assert audio.attribute("rtcp-mux") == ""
    assert (video.kind, video.port, video.connection, video.attributes) == ("video", 0, None, ())


@pytest.mark.parametrize(
    "body",
    [
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b"s=-\r\n", b"").replace(b"t=0 0\r\n", b""),
        HEAD + b"\r\n\r\n",
        HEAD + b"\0",
        HEAD + b"i=caf\xe9\r\n",
        HEAD.replace(b"\r\n", b"\r"),
        HEAD.replace(b"\r\n", b"\r\r\n"),
        HEAD.replace(b"\r\n", b" \t\r\n"),
        HEAD.replace(b"s=", b"\r\ns="),
        HEAD.replace(b"t=", b"  \r\n\t\r\nt="),
        b"\r\n" + HEAD,
        b"\xef\xbb\xbf" + HEAD,
        HEAD.replace(b"o=-", b"o=MX One"),
        HEAD.replace(b" IN IP4 192.0.2.1\r\ns", b" IN IP4 \r\ns"),
        HEAD.replace(b"o=- 1 1 IN IP4 192.0.2.1", b"o="),
        HEAD.replace(b"o=- 1 1 IN IP4 192.0.2.1\r\n", b""),
        b"v=0\nc=IN IP4 192.0.2.1",
        HEAD.replace(b"s=-\r\n", b"") + b"s=-\r\n",
        HEAD.replace(b"v=0\r\n", b"") + b"v=0\r\n",
        HEAD.replace(b"c=IN IP4", b"c= in\tip4 "),
        HEAD.replace(b"=", b" = "),
        HEAD + b"y=0200003312\r\nf=v/1/2\r\nX=foo\r\n1=x\r\n",
        HEAD + b"b=RR:3000\r\nb=RS:1000\r\nk=clear:x\r\nr=7d 1h\r\nz=0 0\r\n",
        HEAD + b"a=key-mgmt:mikey " + b"A" * 900,
    ],
    ids=[
        "bare line feeds",
        "no s= and t=",
        "empty lines at the end",
        "a zero at the end",
        "not UTF-8",
        "bare carriage returns",
        "doubled carriage returns",
        "white space at the end of lines",
        "an empty line",
        "lines of white space",
        "an empty line at the beginning",
        "a byte order mark",
        "o= with a user of two words",
        "o= without an address",
        "an empty o=",
        "no o=",
        "v= and c= alone",
        "s= at the end",
        "v= not first",
        "white space within c=",
        "white space around =",
        "types of line that nobody knows",
        "types of line that we do not use",
        "a long line",
    ],
)
def test_sloppy_devices_are_understood(body: bytes) -> None:
    session = parse(body)
    assert session.connection == ConnectionData("IP4", "192.0.2.1")
    assert parse(session.render().encode()).connection == session.connection


def test_an_answer_repeats_no_empty_line() -> None:
    session = parse(HEAD.replace(b"s=-", b"s=").replace(b"t=0 0", b"t= "))
    assert (session.name, session.timing) == ("-", "0 0")


def test_sloppy_media_descriptions_are_understood() -> None:
    session = parse(
        HEAD + b"\r\nm=audio\t4000  RTP/AVP 0 \r\n c=IN IP6 [2001:db8::1]\r\n\r\na= rtpmap : 0 pcmu/8000\r\n"
        b"a=sendrecv \r\nm=video 0 RTP/AVP\r\nm=message 7654 TCP/MSRP *\r\n"
    )
    audio, video, message = session.media
    assert (audio.port, audio.formats, audio.connection) == (4000, ("0",), ConnectionData("IP6", "2001:db8::1"))
    assert audio.attributes == (("rtpmap", "0 pcmu/8000"), ("sendrecv", ""))
    assert (video.port, video.formats) == (0, ("0",)), "one that is switched off, without a format"
    assert (message.protocol, message.formats) == ("TCP/MSRP", ("*",))


def test_host_names_are_found_and_replaced() -> None:
    session = parse(
        HEAD.replace(b"c=IN IP4 192.0.2.1", b"c=IN IP4 pbx.example") + b"m=audio 4000 RTP/AVP 0\r\n"
        b"m=audio 4002 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4004 RTP/AVP 0\r\nc=IN IP4 other.example\r\n"
        b"m=audio 0 RTP/AVP 0\r\nc=IN IP4 off.example\r\nm=video 4006 RTP/AVP 96\r\nc=IN IP4 video.example\r\n"
    )
    assert session.names == ("pbx.example", "other.example")
    placed = session.placed({"pbx.example": "192.0.2.9", "other.example": ""})
    assert placed.connection == ConnectionData("IP4", "192.0.2.9")
    assert [media.connection and media.connection.host for media in placed.media] == [
        None,
        "2001:db8::1",
        "",
        "off.example",
        "video.example",
    ]
    assert placed.names == ()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "0.0.0.0", "224.2.1.1/127", "::"])
def test_an_address_is_no_name(host: str) -> None:
    assert not ConnectionData("IP4", host).is_name
    assert parse(HEAD + f"m=audio 1 RTP/AVP 0\r\nc=IN IP4 {host}".encode()).names == ()


@pytest.mark.parametrize("host", ["localhost", "a.example", "999.1.1.1", "-", "192.0.2", "phone.local/127"])
def test_other_hosts_are_names(host: str) -> None:
    assert ConnectionData("IP4", host).is_name


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "line 1"),
        (b"hello", "line 1"),
        (b"{}", "line 1"),
        (b"m=audio 1 RTP/AVP 0", "no session part"),
        (b"o=- 1 1 IN IP4 192.0.2.1\r\n", "v=0"),
        (HEAD.replace(b"v=0", b"v=1"), "v=0"),
        (b"\r\n \r\n", "line 1"),
        (HEAD + b"m=audio 1 RTP/AVP\r\n", "four fields"),
        (HEAD.replace(b"c=IN IP4 192.0.2.1", b"c=192.0.2.1"), "c="),
        (HEAD.replace(b"c=IN IP4", b"c=IN IP5"), "c="),
        (HEAD + b"m=audio\r\n", "four fields"),
        (HEAD + b"m=audio x RTP/AVP 0\r\n", "port"),
        (HEAD + b"m=audio -1 RTP/AVP 0\r\n", "port"),
        (HEAD + b"m=audio 65536 RTP/AVP 0\r\n", "port"),
        (HEAD + "m=audio ٣ RTP/AVP 0\r\n".encode(), "port"),
        (HEAD + b"a=x\x01y\r\n", "control"),
        (HEAD + b"\r\nno line\r\n", "line 7"),
        (HEAD + b"a=x\r\n" * LINE_LIMIT, "lines"),
        (HEAD + b"m=audio 1 RTP/AVP 0\r\n" * (MEDIA_LIMIT + 1), "media"),
        (HEAD + b"m=audio 1 RTP/AVP" + b" 0" * (FORMAT_LIMIT + 1), "formats"),
        (HEAD + b"a=" + b"x" * SIZE_LIMIT, "longer"),
    ],
)
def test_invalid_sdp_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        parse(body)


word = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-/", min_size=1, max_size=12)
attributes = st.lists(st.tuples(word, st.one_of(st.just(""), word)), max_size=5).map(tuple)
connections = st.one_of(st.none(), st.builds(ConnectionData, st.sampled_from(["IP4", "IP6"]), word))
sessions = st.builds(
    SessionDescription,
    origin=st.lists(word, min_size=6, max_size=6).map(" ".join),
    name=word,
    connection=connections,
    timing=st.just("0 0"),
    attributes=attributes,
    media=st.lists(
        st.builds(
            MediaDescription,
            kind=word,
            port=st.integers(0, 65535),
            protocol=word,
            formats=st.lists(word, min_size=1, max_size=4).map(tuple),
            connection=connections,
            attributes=attributes,
        ),
        max_size=3,
    ).map(tuple),
)


@given(sessions)
def test_a_rendered_description_is_parsed_back(session: SessionDescription) -> None:
    assert parse(session.render().encode()) == session


@given(st.binary(max_size=300).map(lambda tail: HEAD + tail) | st.binary(max_size=300))
@example(HEAD + b"m=")
def test_any_bytes_are_a_description_or_an_sdp_error(body: bytes) -> None:
    try:
        session = parse(body)
    except SdpError:
        return
    assert parse(session.render().encode()).media == session.media


@pytest.mark.parametrize("port", ["0", "1", "9999", "49170", "65535", "00009"])
def test_a_port_has_at_most_five_digits(port: str) -> None:
    assert parse(HEAD + f"m=audio {port} RTP/AVP 0\r\n".encode()).media[0].port == int(port)
    assert parse(HEAD + f"m=audio {port}/2 RTP/AVP 0\r\n".encode()).media[0].port == int(port)


@pytest.mark.parametrize("port", ["65536", "99999", "000001", "-1", "", "/2", "\u0661", "1x"])
def test_anything_else_is_no_port(port: str) -> None:
    with pytest.raises(SdpError, match=r"no port number|fewer than four"):
        parse(HEAD + f"m=audio {port} RTP/AVP 0\r\n".encode())


def test_the_largest_allowed_description_is_accepted() -> None:
    line = b"a=" + b"x" * (SIZE_LIMIT - len(HEAD) - 4) + b"\r\n"
    assert len(HEAD + line) == SIZE_LIMIT == 16384
    assert parse(HEAD + line).attributes[0][0].startswith("xxx")
    lines = HEAD + b"a=x\r\n" * (LINE_LIMIT - HEAD.count(b"\r\n"))
    assert len(parse(lines).attributes) == LINE_LIMIT - 5
    assert len(parse(HEAD + b"m=audio 1 RTP/AVP 0\r\n" * MEDIA_LIMIT).media) == 32
    assert len(parse(HEAD + b"m=audio 1 RTP/AVP" + b" 0" * FORMAT_LIMIT).media[0].formats) == 64


def test_the_text_is_lines_in_the_order_of_the_grammar() -> None:
    media = MediaDescription("audio", 4000, "RTP/AVP", ("0", "8"), ConnectionData("IP6", "::1"), (("rtcp-mux", ""),))
    session = SessionDescription("- 1 1 IN IP4 h", connection=ConnectionData("IP4", "h"), media=(media,))
    assert session.render() == (
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 h\r\nt=0 0\r\n"
        "m=audio 4000 RTP/AVP 0 8\r\nc=IN IP6 ::1\r\na=rtcp-mux\r\n"
    )
    assert SessionDescription("x", attributes=(("a", "b"),)).render() == "v=0\r\no=x\r\ns=-\r\nt=0 0\r\na=a:b\r\n"
