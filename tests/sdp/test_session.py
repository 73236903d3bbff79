"""Session descriptions from text and to text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.sdp.session import (
    FORMAT_LIMIT,
    LINE_LIMIT,
    MEDIA_LIMIT,
    SIZE_LIMIT,
    Connection,
    MediaDescription,
    SessionDescription,
    parse,
)
from trunkline.sdp.values import SdpError

HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def test_a_description_is_cut_into_its_parts() -> None:
    session = parse(
        HEAD
        + b"a=sendonly\r\nm=audio 4000/2 RTP/AVP 0 101\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:101 telephone-event/8000\r\n"
        b"a=rtcp-mux\r\nm=video 0 RTP/AVP 96\r\n"
    )
    assert session.connection == Connection("IP4", "192.0.2.1")
    assert session.attribute("sendonly") == ""
    assert session.attribute("inactive") is None
    audio, video = session.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 4000, "RTP/AVP", ("0", "101"))
    assert audio.connection == Connection("IP6", "2001:db8::1")
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
    ],
    ids=["bare line feeds", "no s= and t=", "empty lines at the end", "a zero at the end", "not UTF-8"],
)
def test_sloppy_devices_are_understood(body: bytes) -> None:
    assert parse(body).connection == Connection("IP4", "192.0.2.1")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "line 1"),
        (b"hello", "line 1"),
        (b"{}", "line 1"),
        (b"m=audio 1 RTP/AVP 0", "no session part"),
        (b"o=- 1 1 IN IP4 192.0.2.1\r\n", "v=0"),
        (HEAD.replace(b"v=0", b"v=1"), "v=0"),
        (b"v=0\r\ns=-\r\n", "o="),
        (b"v=0\r\no=- 1\r\n", "o="),
        (HEAD.replace(b"c=IN IP4 192.0.2.1", b"c=192.0.2.1"), "c="),
        (HEAD.replace(b"c=IN IP4", b"c=IN IP5"), "c="),
        (HEAD + b"m=audio\r\n", "four fields"),
        (HEAD + b"m=audio x RTP/AVP 0\r\n", "port"),
        (HEAD + b"m=audio -1 RTP/AVP 0\r\n", "port"),
        (HEAD + b"m=audio 65536 RTP/AVP 0\r\n", "port"),
        (HEAD + "m=audio ٣ RTP/AVP 0\r\n".encode(), "port"),
        (HEAD + b"a=x\x01y\r\n", "control"),
        (HEAD + b"\r\na=x\r\n", "line 6"),
        (HEAD + b"a=x\r\n" * LINE_LIMIT, "lines"),
        (HEAD + b"m=audio 1 RTP/AVP 0\r\n" * (MEDIA_LIMIT + 1), "media"),
        (HEAD + b"m=audio 1 RTP/AVP" + b" 0" * (FORMAT_LIMIT + 1), "formats"),
        (HEAD + b"a=" + b"x" * SIZE_LIMIT, "longer"),
    ],
)
def test_what_is_not_sdp_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        parse(body)


word = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-/", min_size=1, max_size=12)
attributes = st.lists(st.tuples(word, st.one_of(st.just(""), word)), max_size=5).map(tuple)
connections = st.one_of(st.none(), st.builds(Connection, st.sampled_from(["IP4", "IP6"]), word))
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
def test_what_is_rendered_is_read_back_the_same(session: SessionDescription) -> None:
    assert parse(session.render().encode()) == session


@given(st.binary(max_size=300).map(lambda tail: HEAD + tail) | st.binary(max_size=300))
@example(HEAD + b"m=")
def test_any_bytes_are_a_description_or_an_sdp_error(body: bytes) -> None:
    try:
        session = parse(body)
    except SdpError:
        return
    assert len(session.origin.split()) == 6
