"""What the types of settings make of texts, which flags and the environment have."""

from typing import Annotated

import pytest
from pydantic import BeforeValidator, ValidationError

from trunkline.outbound.urls import WebSocketUrl
from trunkline.setting_types import (
    NUMBER_LIMIT,
    Clash,
    Network,
    Section,
    SipTarget,
    StreamUrl,
    check_one,
    check_reachable,
    check_unlike,
    is_loopback,
    off,
    split,
    stream_document,
    tables,
    urls_of,
)
from trunkline.streaming.params import BidirectionalMode, StreamParams, Track
from trunkline.texml.document import parse
from trunkline.texml.verbs import Connect


class Example(Section):
    """A section."""

    number: float = 0
    target: SipTarget = "sip:a"
    networks: Annotated[tuple[Network, ...], BeforeValidator(split)] = ()


@pytest.mark.parametrize(
    ("given", "parts"), [("a, b ,c", ["a", "b", "c"]), ("a", ["a"]), ("", []), (" ", []), (["a,b"], ["a,b"])]
)
def test_a_list_as_text_is_separated_by_commas(given: object, parts: list[str]) -> None:
    assert split(given) == parts


def test_tables_as_text_are_json() -> None:
    assert tables('[{"name": "a"}]') == [{"name": "a"}]
    assert tables([1]) == [1]
    with pytest.raises(ValueError, match="must be a JSON list of objects"):
        tables("[")


def test_off_is_none() -> None:
    assert (off("off"), off("on"), off(5061)) == (None, "on", 5061)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_which_hosts_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_settings_that_clash_are_named() -> None:
    check_reachable("0.0.0.0", "192.0.2.1")
    check_reachable("192.0.2.1", None)
    with pytest.raises(Clash) as clash:
        check_reachable("::", None)
    assert clash.value.names == ("host", "advertised_host")
    check_unlike("trunks", ["a", "b"])
    with pytest.raises(Clash, match="two trunks are called 'a'") as clash:
        check_unlike("trunks", ["a", "b", "a"])
    assert clash.value.names == ("trunks",)


def test_a_section_takes_known_names_and_bounded_numbers() -> None:
    found = Example.model_validate({"networks": "10.0.0.0/8,fd00::/8", "number": NUMBER_LIMIT})
    assert [str(network) for network in found.networks] == ["10.0.0.0/8", "fd00::/8"]
    for wrong in ({"number": NUMBER_LIMIT + 1}, {"nummer": 1}, {"networks": "10.0.0.1/8"}, {"target": "sip:a:0"}):
        with pytest.raises(ValidationError):
            Example.model_validate(wrong)


class _Streamed(Section):
    url: StreamUrl


@pytest.mark.parametrize("url", ["ws://a", "wss://a:1/b?c=d&e=\"f\"'g'", "ws://[::1]/<x>"])
def test_a_stream_is_a_document_that_connects_its_url_both_ways(url: str) -> None:
    document = parse(stream_document(_Streamed(url=url).url))
    wanted = StreamParams(
        WebSocketUrl.parse(url),
        track=Track.INBOUND,
        codec="PCMU",
        mode=BidirectionalMode.RTP,
        bidirectional_codec="PCMU",
    )
    assert (document.verbs, document.warnings) == ((Connect(wanted),), ())


@pytest.mark.parametrize("url", ["http://a", "ws://", "ws:///x", "ws://a:0/", "ws://a/ b", "ws://a/#b", "ws://é/", "a"])
def test_what_is_no_url_of_a_stream(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a ws:// or wss:// URL"):
        _Streamed(url=url)


def test_the_urls_that_a_document_may_have_dialled() -> None:
    text = """<Response><Play>http://a/b</Play><Connect><Stream url='wss://c:1/?d&amp;e'/></Connect>
    <Dial><Number url="HTTPS://f">1</Number></Dial><Redirect>/relative</Redirect></Response>"""
    assert urls_of(text) == ["http://a/b", "wss://c:1/?d&e", "HTTPS://f"]


def test_exactly_one_is_given() -> None:
    check_one("it", ["a"], "a and b")
    for given, found in (([], "none"), (["a", "b"], "a and b")):
        with pytest.raises(ValueError, match=f"it needs exactly one of a and b, and has {found}"):
            check_one("it", given, "a and b")
