"""Which characters the bytes of a document are: byte order mark, Content-Type, declaration, UTF-8."""

import codecs
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.texml.charset import text_of
from trunkline.texml.document import DocumentError, parse
from trunkline.texml.verbs import Say


def document(words: str, declared: str | None = None) -> str:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    return f"{declaration}<Response><Say>{words}</Say></Response>"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (document("Grüße").encode(), ""),
        (document("Grüße").encode(), "application/xml"),
        (document("Grüße").encode("latin-1"), "application/xml; charset=iso-8859-1"),
        (document("Grüße").encode("latin-1"), 'text/xml; charset="ISO-8859-1"'),
        (document("Grüße", "utf-8").encode("latin-1"), "application/xml;charset=latin1"),
        (document("Grüße", "iso-8859-1").encode("latin-1"), "application/xml"),
        (document("Grüße", "windows-1252").encode("cp1252"), "text/xml"),
        (document("Grüße", "iso-8859-1").encode(), "application/xml; charset=utf-8"),
        (codecs.BOM_UTF8 + document("Grüße").encode(), "application/xml; charset=iso-8859-1"),
        (codecs.BOM_UTF8 + document("Grüße", "iso-8859-1").encode(), "application/xml"),
        (codecs.BOM_UTF16_LE + document("Grüße").encode("utf-16-le"), "application/xml; charset=utf-8"),
        (codecs.BOM_UTF16_BE + document("Grüße", "utf-16").encode("utf-16-be"), ""),
        (document("Grüße").encode("utf-16-be"), "application/xml; charset=utf-16"),
        (document("Grüße").encode("utf-16-le"), "application/xml; charset=utf-16"),
        (document("Grüße").encode("utf-16-le"), "application/xml"),
        (document("Grüße", "utf-16").encode(), "application/xml"),
        (document("Grüße", "utf-32").encode(), "application/xml"),
        (document("Grüße").encode(), "application/xml; charset=us-ascii"),
        (document("Grüße").encode(), "application/xml; charset=no-such-set"),
        (document("Grüße").encode(), "application/xml; charset=punycode"),
        (document("Grüße").encode(), "application/xml; charset=hex"),
    ],
)
def test_the_charset_of_a_document_is_detected(body: bytes, content_type: str) -> None:
    assert parse(text_of(body, content_type)).verbs == (Say("Grüße"),)


def test_a_charset_that_the_xml_parser_lacks_is_decoded() -> None:
    body = document("こんにちは", "shift_jis").encode("shift_jis")
    assert parse(text_of(body, "text/xml")).verbs == (Say("こんにちは"),)
    assert parse(text_of(document("你好").encode("gb18030"), "text/xml; charset=gb18030")).verbs == (Say("你好"),)


@pytest.mark.parametrize(
    ("body", "content_type", "word"),
    [
        (document("Grüße").encode("latin-1"), "application/xml", "not utf-8"),
        (document("x", "no-such-set").encode(), "application/xml", "unknown encoding, 'no-such-set'"),
        (b"\xff\xfe\x00", "application/xml", "not utf-16-le"),
    ],
)
def test_bytes_that_do_not_match_their_charset_are_no_document(body: bytes, content_type: str, word: str) -> None:
    with pytest.raises(DocumentError, match=word):
        text_of(body, content_type)


CHARSETS = ["utf-16", "utf-7", "idna", "big5", "zip", "rot13", "undefined"]


@given(st.binary(max_size=80), st.text(max_size=40) | st.sampled_from(CHARSETS))
def test_any_bytes_give_a_text_or_an_error(body: bytes, charset: str) -> None:
    for content_type in (charset, f"text/xml; charset={charset}"):
        with suppress(DocumentError):
            assert isinstance(text_of(body, content_type), str)
