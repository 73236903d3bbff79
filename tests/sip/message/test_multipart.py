"""Multipart bodies as devices write them."""

import pytest

from trunkline.sip.message.multipart import Part, media_type, parts

MIXED = "multipart/mixed; boundary=b"
SDP = b"Content-Type: application/sdp\r\n\r\nv=0\r\n"
ISUP = b"Content-Type: application/isup\r\nContent-Disposition: signal\r\n\r\n\x01\x02"


def body(*pieces: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + piece + b"\r\n" for piece in pieces) + end


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/SDP", "application/sdp"),
        (" Application / sdp ;charset=utf-8", "application/sdp"),
        ("", ""),
        (";boundary=b", ""),
    ],
)
def test_a_type_is_in_lower_case_without_its_parameters(value: str, kind: str) -> None:
    assert media_type(value) == kind


def test_parts_come_in_order_with_their_heads() -> None:
    found = parts(MIXED, body(SDP, ISUP), 2)
    assert found == [
        Part({"content-type": "application/sdp"}, b"v=0\r\n"),
        Part({"content-type": "application/isup", "content-disposition": "signal"}, b"\x01\x02"),
    ]
    assert (found[1].value("content-disposition"), found[0].value("content-disposition")) == ("signal", "")


@pytest.mark.parametrize(
    "text",
    [
        body(SDP).replace(b"\r\n", b"\n"),
        b"A preamble.\r\n" + body(SDP) + b"--b\r\nan epilogue",
        body(SDP).replace(b"--b\r\n", b"--b \t\r\n"),
        body(SDP, end=b""),
        body(SDP, end=b"--b--"),
        b"--b\r\n" + SDP,
    ],
)
def test_malformed_multiparts_of_devices_are_accepted(text: bytes) -> None:
    (part,) = parts(MIXED, text, 1)
    assert part.headers == {"content-type": "application/sdp"}
    assert part.body.strip() == b"v=0"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/mixed;boundary="a b"', b"a b"),
        ('multipart/mixed; BOUNDARY = "a\\"b\\\\c" ; x=y', b'a"b\\c'),
        ('multipart/mixed;boundary="ab  "', b"ab"),
        ("multipart/mixed; boundary=a.b;x=y", b"a.b"),
        ("multipart/mixed;boundary=" + "x" * 140, b"x" * 140),
    ],
)
def test_a_boundary_may_be_quoted(content_type: str, boundary: bytes) -> None:
    assert [part.body for part in parts(content_type, body(SDP).replace(b"--b", b"--" + boundary), 1)] == [b"v=0\r\n"]


def test_a_boundary_within_a_line_is_none() -> None:
    (part,) = parts(MIXED, body(b"\r\nv=0 --b\r\n--bb\r\n--b x\r\nend"), 1)
    assert part == Part({}, b"v=0 --b\r\n--bb\r\n--b x\r\nend")


def test_a_part_may_be_a_head_or_a_body_alone() -> None:
    head, only_body = parts(MIXED, body(b"Content-Type: text/plain", b"\r\nhello"), 2)
    assert (head, only_body) == (Part({"content-type": "text/plain"}, b""), Part({}, b"hello"))


def test_of_a_header_the_first_counts_and_lines_may_be_folded() -> None:
    (part,) = parts(MIXED, body(b"X-A : one\r\n two\r\nx-a: three\r\n\r\n"), 1)
    assert part.headers == {"x-a": "one two"}
    with pytest.raises(ValueError, match="malformed head of a part"):
        parts(MIXED, body(b"no header\r\n\r\nv=0"), 1)


def nested(depth: int) -> bytes:
    """So many multiparts within each other."""
    inner = SDP
    for level in range(depth, 1, -1):
        boundary = b"%d" % level
        inner = (
            b"Content-Type: multipart/alternative;boundary=" + boundary + b"\r\n\r\n"
            b"--" + boundary + b"\r\n" + inner + b"\r\n--" + boundary + b"--"
        )
    return body(inner)


def test_parts_of_inner_multiparts_take_their_place() -> None:
    alternatives = (
        b"Content-Type: Multipart/Alternative; boundary=c\r\n\r\n--c\r\n" + SDP + b"\r\n--c\r\n" + ISUP + b"\r\n--c--"
    )
    found = parts(MIXED, body(ISUP, alternatives, SDP), 4)
    assert [(part.value("content-type"), part.alternative) for part in found] == [
        ("application/isup", False),
        ("application/sdp", True),
        ("application/isup", True),
        ("application/sdp", False),
    ]
    assert all(part.alternative for part in parts("multipart/alternative;boundary=b", body(SDP, ISUP), 2))


def test_depth_and_number_have_bounds() -> None:
    assert len(parts(MIXED, nested(4), 1)) == 1
    with pytest.raises(ValueError, match="multiparts nested too deeply"):
        parts(MIXED, nested(5), 1)
    assert len(parts(MIXED, body(SDP, SDP, SDP), 3)) == 3
    with pytest.raises(ValueError, match="more than 2 parts"):
        parts(MIXED, body(SDP, SDP, SDP), 2)


@pytest.mark.parametrize("content_type", ["multipart/mixed", "multipart/mixed;boundary=", "multipart/mixed;bound=b"])
def test_without_a_boundary_there_are_no_parts(content_type: str) -> None:
    with pytest.raises(ValueError, match="multipart body without boundary"):
        parts(content_type, body(SDP), 1)


@pytest.mark.parametrize("text", [b"", b"v=0", b"--b", b"--b\r\n", b"--b--\r\n", b"--c\r\n\r\nx\r\n--c--"])
def test_a_body_without_a_part_is_malformed(text: bytes) -> None:
    with pytest.raises(ValueError, match="malformed multipart body"):
        parts(MIXED, text, 1)
