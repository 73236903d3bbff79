"""Offer and answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sdp.negotiate import (
    Family,
    accept_answer,
    formats_of,
    make_answer,
    make_offer,
    negotiate,
    payload_types,
    stream_in_use,
    usual_formats,
)
from trunkline.sdp.session import ConnectionData, MediaDescription, SessionDescription, parse
from trunkline.sdp.values import Direction, Endpoint, MediaParams, NotAcceptable

ALL = ("PCMU", "PCMA", "G722")
LOCAL = Endpoint("198.51.100.7", 20000)


def sdp(*lines: str, connection: str = "c=IN IP4 192.0.2.1") -> SessionDescription:
    head = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", connection, "t=0 0"]
    return parse("\r\n".join([*(line for line in head if line), *lines, ""]).encode())


def agreed(*lines: str, accepted: tuple[str, ...] = ALL) -> MediaParams:
    return negotiate(sdp(*lines), accepted)


def our_offer(*codecs: str) -> SessionDescription:
    return parse(make_offer(codecs or ALL, LOCAL, 5, 1).render().encode())


@pytest.mark.parametrize(
    ("formats", "accepted", "order", "answered"),
    [
        ("9 0 8", ALL, None, "0 8 9"),
        ("18 9 8 0", ("PCMU", "PCMA"), None, "0 8"),
        ("0 8", ("PCMA", "PCMU"), None, "8 0"),
        ("9 8", ALL, None, "8 9"),
        ("9 0 8", ALL, (), "9 0 8"),
        ("8 18 9 0", ALL, (), "8 9 0"),
        ("9 0 8", ALL, ("PCMA",), "8 9 0"),
        ("9 0", ALL, ("PCMA",), "9 0"),
        ("0 8 0", ALL, None, "0 8"),
    ],
)
def test_all_common_codecs_are_answered_in_our_order_or_the_peers(
    formats: str, accepted: tuple[str, ...], order: tuple[str, ...] | None, answered: str
) -> None:
    offer = sdp(f"m=audio 4000 RTP/AVP {formats}")
    params = negotiate(offer, accepted, order=order)
    answer = parse(
        make_answer(offer, params, LOCAL, 1, 1, accepted, accepted if order is None else order).render().encode()
    )
    assert answer.media[0].formats == tuple(answered.split())
    assert params.payload_type == int(answered.split()[0])
    assert sorted(number for number, _ in params.heard) == sorted(map(int, answered.split()))
    assert params.remote == Endpoint("192.0.2.1", 4000)


def test_a_codec_with_two_payload_types_is_received_in_both() -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0 96 8", "a=rtpmap:96 PCMU/8000")
    params = negotiate(offer, ALL)
    assert (params.payload_type, dict(params.heard)) == (0, {0: "PCMU", 96: "PCMU", 8: "PCMA"})
    answer = parse(make_answer(offer, params, LOCAL, 1, 1, ALL, ALL).render().encode())
    assert answer.media[0].formats == ("0", "8")


@pytest.mark.parametrize(("number", "codec"), [(0, "PCMU"), (8, "PCMA"), (9, "G722")])
def test_static_payload_types_need_no_rtpmap(number: int, codec: str) -> None:
    assert agreed(f"m=audio 4000 RTP/AVP {number}").codec == codec


def test_a_dynamic_payload_type_is_kept_as_offered() -> None:
    params = agreed("m=audio 4000 RTP/AVP 111", "a=rtpmap:111 g722/8000/1")
    assert (params.codec, params.payload_type) == ("G722", 111)


def test_an_rtpmap_overrides_the_static_meaning() -> None:
    params = agreed("m=audio 4000 RTP/AVP 0 8", "a=rtpmap:0 opus/48000/2")
    assert params.codec == "PCMA"


def test_a_codec_at_another_clock_is_another_codec() -> None:
    with pytest.raises(NotAcceptable, match="PCMU/16000"):
        agreed("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000")


def test_telephone_event_is_accepted_at_the_offers_payload_type() -> None:
    params = agreed("m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15")
    assert params.dtmf_payload_type == 96
    assert agreed("m=audio 4000 RTP/AVP 0").dtmf_payload_type is None


@pytest.mark.parametrize(
    ("lines", "ptime"),
    [
        ([], 20),
        (["a=ptime:30"], 30),
        (["a=ptime:20.0"], 20),
        (["a=ptime:25"], 20),
        (["a=ptime:5"], 10),
        (["a=ptime:200"], 60),
        (["a=maxptime:10"], 10),
        (["a=ptime:40", "a=maxptime:30"], 30),
        (["a=ptime:x"], 20),
        (["a=ptime:0"], 20),
        (["a=ptime: 30 ms"], 30),
        (["a=ptime:30,"], 30),
        (["a=ptime:"], 20),
        (["a=ptime:999999"], 20),
    ],
)
def test_ptime_is_the_peers_within_the_limits_of_both(lines: list[str], ptime: int) -> None:
    assert agreed("m=audio 4000 RTP/AVP 0", *lines).ptime == ptime


def test_a_ptime_of_the_session_is_its_audio_s() -> None:
    assert agreed("a=ptime:30", "m=audio 4000 RTP/AVP 0").ptime == 30
    assert agreed("a=ptime:30", "m=audio 4000 RTP/AVP 0", "a=ptime:10").ptime == 10
    assert agreed("a=maxptime:10", "m=audio 4000 RTP/AVP 0").ptime == 10


@pytest.mark.parametrize(
    ("formats", "line", "codec", "dtmf"),
    [
        ("0", "a=rtpmap:0 PCMU", "PCMU", None),
        ("9", "a=rtpmap:9 G722/16000", "G722", None),
        ("9", "a=rtpmap:9", "G722", None),
        ("96", "a=rtpmap:96\tpcma/8000/1", "PCMA", None),
        ("96", "a= rtpmap: 96  PCMA / 8000", "PCMA", None),
        ("0 101", "a=rtpmap:101 telephone-event", "PCMU", 101),
    ],
)
def test_sloppy_rtpmaps_are_understood_and_answered_correctly(
    formats: str, line: str, codec: str, dtmf: int | None
) -> None:
    offer = sdp(f"m=audio 4000 RTP/AVP {formats}", line)
    params = negotiate(offer, ALL)
    assert (params.codec, params.dtmf_payload_type) == (codec, dtmf)
    (audio,) = parse(make_answer(offer, params, LOCAL, 1, 1).render().encode()).media
    mapped = {value for name, value in audio.attributes if name == "rtpmap"}
    assert f"{params.payload_type} {codec}/8000" in mapped
    assert dtmf is None or f"{dtmf} telephone-event/8000" in mapped


@pytest.mark.parametrize(
    ("lines", "direction"),
    [
        ([], Direction.SENDRECV),
        (["a=sendrecv"], Direction.SENDRECV),
        (["a=sendonly"], Direction.RECVONLY),
        (["a=recvonly"], Direction.SENDONLY),
        (["a=inactive"], Direction.INACTIVE),
        (["c=IN IP4 0.0.0.0"], Direction.RECVONLY),
        (["c=IN IP4 0.0.0.0", "a=recvonly"], Direction.INACTIVE),
        (["c=IN IP6 ::"], Direction.RECVONLY),
    ],
)
def test_our_direction_mirrors_the_peers_hold(lines: list[str], direction: Direction) -> None:
    params = agreed("m=audio 4000 RTP/AVP 0", *lines)
    assert params.direction is direction
    assert params.on_hold == (direction is not Direction.SENDRECV)


def test_session_level_direction_and_address_apply_where_the_media_has_none() -> None:
    assert agreed("a=inactive", "m=audio 4000 RTP/AVP 0").direction is Direction.INACTIVE
    assert agreed("a=inactive", "m=audio 4000 RTP/AVP 0", "a=sendrecv").direction is Direction.SENDRECV
    assert agreed("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:DB8::1").remote == Endpoint("2001:db8::1", 4000)


def test_rtcp_goes_where_the_offer_says() -> None:
    audio = "m=audio 4000 RTP/AVP 0"
    assert agreed(audio).remote_rtcp is None
    assert agreed(audio, "a=rtcp:53020").remote_rtcp == Endpoint("192.0.2.1", 53020)
    assert agreed(audio, "a=rtcp:53020 IN IP4 192.0.2.9").remote_rtcp == Endpoint("192.0.2.9", 53020)
    for port, usable in (("0", False), ("1", True), ("65535", True), ("65536", False), ("000001", False), ("x", False)):
        assert (agreed(audio, f"a=rtcp:{port}").remote_rtcp is not None) == usable, port
    assert agreed(audio, "a=rtcp:99999").remote_rtcp is None
    assert agreed(audio, "a=rtcp:1 IN IP4 nonsense").remote_rtcp is None
    mux = agreed(audio, "a=rtcp-mux", "a=rtcp:4000")
    assert (mux.rtcp_mux, mux.remote_rtcp) == (True, None)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "no audio"),
        (["m=video 4000 RTP/AVP 96"], "no audio"),
        (["m=audio 0 RTP/AVP 0"], "port 0"),
        (["m=audio 4000 RTP/SAVP 0"], "SRTP"),
        (["m=audio 4000 UDP/TLS/RTP/SAVPF 0"], "DTLS-SRTP"),
        (["m=audio 4000 TCP/MRCPv2 1"], "unknown audio transport"),
        (["m=audio 4000 RTP/AVP 18", "a=rtpmap:18 G729/8000"], "no common codec: offered G729/8000"),
        (
            ["m=audio 4000 RTP/AVP 18 97", "a=rtpmap:18 G729/8000", "a=rtpmap:97 iLBC/8000"],
            "no common codec: offered G729/8000, iLBC/8000; accepted PCMU, PCMA",
        ),
        (["m=audio 4000 RTP/AVP 255"], "no common codec"),
        (["m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"], "media.example.com"),
        (["m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1"], "multicast"),
    ],
)
def test_unsupported_offers_are_refused_with_the_reason(lines: list[str], reason: str) -> None:
    with pytest.raises(NotAcceptable, match=reason):
        agreed(*lines)


@pytest.mark.parametrize("family", ["IP4", "IP6", None])
def test_an_unresolved_host_name_leaves_the_media_address_unknown(family: Family | None) -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", "a=rtcp:4001", "c=IN IP4 pbx.example").placed({"pbx.example": ""})
    params = negotiate(offer, ALL, family=family)
    assert params.remote == Endpoint("", 4000)
    assert params.direction is Direction.SENDRECV
    (audio,) = parse(make_answer(offer, params, LOCAL, 1, 1).render().encode()).media
    assert audio.port == LOCAL.port


@pytest.mark.parametrize(("family", "port"), [("IP4", 4000), ("IP6", 4002), (None, 4000)])
def test_of_both_address_families_ours_is_chosen(family: Family | None, port: int) -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0", "c=IN IP6 2001:db8::1")
    params = negotiate(offer, ALL, family=family)
    assert params.remote.port == port
    answer = parse(make_answer(offer, params, LOCAL, 1, 1).render().encode())
    assert [media.port > 0 for media in answer.media] == [port == 4000, port == 4002]


def test_an_address_of_the_other_family_is_refused_but_for_a_hold() -> None:
    audio = "m=audio 4000 RTP/AVP 0"
    with pytest.raises(NotAcceptable, match=r"192\.0\.2\.1 is IPv4; only IPv6 is supported here"):
        negotiate(sdp(audio), ALL, family="IP6")
    held = negotiate(sdp(audio, "c=IN IP4 0.0.0.0"), ALL, family="IP6")
    assert held.direction is Direction.RECVONLY


def test_a_missing_connection_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="c="):
        negotiate(sdp("m=audio 4000 RTP/AVP 0", connection=""), ALL)


def test_only_the_first_acceptable_audio_is_accepted_and_the_rest_declined() -> None:
    offer = sdp(
        "m=video 5000 RTP/AVP 96 97",
        "m=audio 5002 RTP/SAVP 0",
        "m=audio 5004 RTP/AVPF 8 101",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:30",
        "a=sendonly",
        "a=rtcp-mux",
        "m=audio 5006 RTP/AVP 0",
        "m=image 5008 udptl t38",
    )
    params = negotiate(offer, ALL)
    assert params.remote.port == 5004
    answer = parse(make_answer(offer, params, LOCAL, 77, 3).render().encode())
    assert [(media.kind, media.port, media.protocol) for media in answer.media] == [
        ("video", 0, "RTP/AVP"),
        ("audio", 0, "RTP/SAVP"),
        ("audio", 20000, "RTP/AVPF"),
        ("audio", 0, "RTP/AVP"),
        ("image", 0, "udptl"),
    ]
    audio = answer.media[2]
    assert audio.formats == ("8", "101")
    assert audio.attributes == (
        ("rtpmap", "8 PCMA/8000"),
        ("rtpmap", "101 telephone-event/8000"),
        ("fmtp", "101 0-15"),
        ("ptime", "30"),
        ("recvonly", ""),
        ("rtcp-mux", ""),
    )
    assert answer.origin == "trunkline 77 3 IN IP4 198.51.100.7"


OPUS = (
    "m=audio 4000 RTP/AVP 107 0 101 100",
    "a=rtpmap:107 opus/48000/2",
    "a=fmtp:107 minptime=10;useinbandfec=1",
    "a=rtpmap:101 telephone-event/8000",
    "a=rtpmap:100 telephone-event/48000",
)


def test_opus_is_accepted_at_the_offers_payload_type_with_events_of_its_clock() -> None:
    offer = sdp(*OPUS)
    params = negotiate(offer, ("OPUS", "PCMU"))
    assert (params.codec, params.payload_type, params.dtmf_payload_type) == ("OPUS", 107, 100)
    (audio,) = parse(make_answer(offer, params, LOCAL, 1, 1).render().encode()).media
    assert audio.formats == ("107", "100")
    assert audio.attributes[:3] == (
        ("rtpmap", "107 opus/48000/2"),
        ("rtpmap", "100 telephone-event/48000"),
        ("fmtp", "100 0-15"),
    )
    assert agreed(*OPUS[:4], accepted=("OPUS",)).dtmf_payload_type == 101


def test_opus_is_not_accepted_when_disabled_or_without_two_channels() -> None:
    params = agreed(*OPUS)
    assert (params.codec, params.dtmf_payload_type) == ("PCMU", 101)
    with pytest.raises(NotAcceptable, match="opus/48000;"):
        agreed("m=audio 4000 RTP/AVP 111", "a=rtpmap:111 opus/48000", accepted=("OPUS",))
    with pytest.raises(NotAcceptable, match="no known codec"):
        agreed("m=audio 4000 RTP/AVP 111", accepted=("OPUS",))


@pytest.mark.parametrize(("wanted", "ptime"), [(5, 10), (10, 10), (20, 20), (30, 20), (40, 40), (50, 40), (120, 60)])
def test_opus_has_no_packets_of_30_and_50_ms(wanted: int, ptime: int) -> None:
    assert agreed(*OPUS, f"a=ptime:{wanted}", accepted=("OPUS",)).ptime == ptime


def test_our_offer_of_opus_has_telephone_events_of_both_clocks() -> None:
    offer = parse(make_offer(("PCMU", "OPUS"), LOCAL, 5, 1).render().encode())
    assert offer.media[0].formats == ("0", "111", "101", "110")
    answered = negotiate(offer, ("OPUS",))
    answer = parse(make_answer(offer, answered, Endpoint("192.0.2.1", 4000), 1, 1).render().encode())
    params = accept_answer(offer, answer)
    assert (params.codec, params.payload_type, params.dtmf_payload_type) == ("OPUS", 111, 110)


def test_the_answer_repeats_the_offers_time_line_and_has_ipv6() -> None:
    offer = parse(b"v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 2001:db8::5\r\nt=10 20\r\nm=audio 4000 RTP/AVP 0\r\n")
    answer = make_answer(offer, negotiate(offer, ALL), Endpoint("2001:db8::9", 20002), 1, 1).render()
    assert "c=IN IP6 2001:db8::9\r\n" in answer
    assert "t=10 20\r\n" in answer


def test_our_offer_is_answered_by_our_own_rules_and_understood() -> None:
    offer = parse(make_offer(("G722", "PCMU"), LOCAL, 5, 1).render().encode())
    assert offer.media[0].formats == ("9", "0", "101")
    answered = negotiate(offer, ("PCMU",))
    answer = parse(make_answer(offer, answered, Endpoint("192.0.2.1", 4000), 1, 1).render().encode())
    params = accept_answer(offer, answer)
    assert (params.codec, params.dtmf_payload_type, params.remote) == ("PCMU", 101, Endpoint("192.0.2.1", 4000))


def test_a_declined_late_offer_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable, match="port 0"):
        accept_answer(our_offer(), sdp("m=audio 0 RTP/AVP 0"))


def test_an_answer_to_an_offer_without_audio_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable, match="no audio stream to answer"):
        accept_answer(sdp("m=audio 0 RTP/AVP 0"), sdp("m=audio 4000 RTP/AVP 0"))


def test_the_stream_in_use_is_the_audio_that_is_not_declined() -> None:
    assert stream_in_use(sdp("m=video 0 RTP/AVP 96", "m=audio 0 RTP/AVP 0", "m=audio 4000 RTP/AVP 8")) == 2
    assert stream_in_use(sdp("m=audio 0 RTP/AVP 0")) is None


def test_the_formats_of_a_description_are_what_the_peer_may_send() -> None:
    ours = our_offer("PCMU", "OPUS")
    assert dict(formats_of(ours)) == {0: "PCMU", 111: "OPUS", 101: "telephone-event", 110: "telephone-event"}
    assert set(formats_of(ours)) == set(usual_formats(("PCMU", "OPUS")))
    assert formats_of(sdp("m=audio 0 RTP/AVP 0")) == ()


EVENTS = "a=rtpmap:97 telephone-event/8000"


@pytest.mark.parametrize(
    ("lines", "sent", "keys", "heard"),
    [
        # The first of ours, whatever the answer's order; either may come.
        (("0 8",), ("PCMU", 0), None, {0: "PCMU", 8: "PCMA"}),
        (("8 0",), ("PCMU", 0), None, {0: "PCMU", 8: "PCMA"}),
        # Renumbered: we send under the answer's numbers, and hear both.
        (("0 97", EVENTS), ("PCMU", 0), 97, {0: "PCMU", 97: "telephone-event"}),
        (("96", "a=rtpmap:96 PCMA/8000"), ("PCMA", 96), None, {96: "PCMA", 8: "PCMA"}),
        (("98", "a=rtpmap:98 opus/48000/2"), ("OPUS", 98), None, {98: "OPUS", 111: "OPUS"}),
        # A number of ours is heard as what it is in our offer, and sent as what it is in the answer.
        (
            ("101 97", "a=rtpmap:101 opus/48000/2", EVENTS),
            ("OPUS", 101),
            97,
            {97: "telephone-event", 111: "OPUS"},
        ),
        # Numbers of ours that the answer does not explain are ours; others are skipped.
        (("111 101",), ("OPUS", 111), 101, {111: "OPUS"}),
        (("18 99 0 101",), ("PCMU", 0), 101, {0: "PCMU"}),
        (("0 13 118", "a=rtpmap:118 CN/16000"), ("PCMU", 0), None, {0: "PCMU", 118: "CN"}),
    ],
)
def test_the_payload_types_of_either_side_are_received_after_an_answer(
    lines: tuple[str, ...], sent: tuple[str, int], keys: int | None, heard: dict[int, str]
) -> None:
    offer = our_offer("PCMU", "PCMA", "OPUS")
    params = accept_answer(offer, sdp(f"m=audio 4000 RTP/AVP {lines[0]}", *lines[1:]))
    assert (params.codec, params.payload_type) == sent
    assert params.dtmf_payload_type == keys
    assert dict(params.heard) == heard | {101: "telephone-event", 110: "telephone-event"}


def test_an_answer_is_accepted_in_the_peers_order_if_we_have_none() -> None:
    params = accept_answer(our_offer(), sdp("m=audio 4000 RTP/AVP 9 8 0"), order=())
    assert params.codec == "G722"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["m=audio 4000 RTP/AVP 9"], "no common codec"),
        (["m=audio 4000 RTP/AVP 97"], "no common codec"),
        (["m=video 4000 RTP/AVP 0"], "no audio"),
        (["m=audio 4000 UDP/TLS/RTP/SAVPF 0"], "DTLS-SRTP"),
    ],
)
def test_an_answer_of_nothing_that_we_offered_is_not_acceptable(lines: list[str], reason: str) -> None:
    with pytest.raises(NotAcceptable, match=reason):
        accept_answer(our_offer("PCMU", "PCMA"), sdp(*lines))


OURS = "v=0\r\no=trunkline 5 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        ["m=video 0 RTP/AVP 96", "m=audio 4000 RTP/AVPF 0"],
        ["m=audio 4000 RTP/AVPF 0"],
        ["m=audio 4000 RTP/AVP 0"],
        ["m=video 0 RTP/AVP 96", "m=audio 4000 RTP/AVPF 0", "m=image 0 udptl t38"],
        ["m=audio 4002 RTP/AVP 0", "m=audio 4000 RTP/AVP 0"],
    ],
)
def test_audio_in_an_answer_is_read_from_our_place_or_from_another(answer: list[str]) -> None:
    ours = parse((OURS + "m=video 0 RTP/AVP 96\r\nm=audio 20000 RTP/AVPF 0\r\n").encode())
    assert accept_answer(ours, sdp(*answer)).remote.port == 4000


def described(text: str) -> list[tuple[str, int, str, str]]:
    return [(media.kind, media.port, media.protocol, " ".join(media.formats)) for media in parse(text.encode()).media]


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF", "RTP/SAVPF"])
def test_a_later_offer_keeps_the_place_of_each_stream_and_the_profile(profile: str) -> None:
    last = parse(
        f"{OURS}m=video 0 RTP/SAVPF 96 97\r\nm=application 0 UDP/BFCP *\r\nm=audio 20000 {profile} 8 96\r\n"
        "a=rtpmap:96 telephone-event/8000\r\na=rtcp-mux\r\nm=image 0 udptl t38\r\n".encode()
    )
    text = make_offer(("PCMU", "PCMA"), LOCAL, 5, 2, last=last).render()
    assert described(text) == [
        ("video", 0, "RTP/SAVPF", "96 97"),
        ("application", 0, "UDP/BFCP", "*"),
        ("audio", 20000, profile, "0 8 96"),
        ("image", 0, "udptl", "t38"),
    ]
    assert parse(text.encode()).media[2].attribute("rtcp-mux") is not None


def test_a_payload_type_keeps_its_meaning_for_the_whole_call() -> None:
    taken = {101: "opus/48000/2", 96: "telephone-event/8000", 111: "amr/8000", 97: "ilbc/8000"}
    last = parse(f"{OURS}m=audio 20000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n".encode())
    offer = parse(make_offer(("PCMU", "OPUS"), LOCAL, 5, 2, last=last, taken=taken).render().encode())
    assert payload_types(offer) == {
        0: "pcmu/8000",
        101: "opus/48000/2",
        96: "telephone-event/8000",
        110: "telephone-event/48000",
    }
    taken = {96: "telephone-event/8000", 101: "telephone-event/8000"}
    offer = parse(make_offer(("PCMU",), LOCAL, 5, 2, last=last, taken=taken).render().encode())
    assert set(payload_types(offer)) == {0, 96}
    taken = {101: "ilbc/8000", 111: "amr/8000", 96: "speex/8000"}
    offer = parse(make_offer(("PCMU", "OPUS"), LOCAL, 5, 2, taken=taken).render().encode())
    assert payload_types(offer) == {
        0: "pcmu/8000",
        97: "opus/48000/2",
        98: "telephone-event/8000",
        110: "telephone-event/48000",
    }


PAYLOAD_TYPES = {
    0: "PCMU/8000",
    8: "PCMA/8000",
    9: "G722/8000",
    18: "G729/8000",
    13: "CN/8000",
    96: "opus/48000/2",
    97: "telephone-event/8000",
    98: "telephone-event/48000",
    99: "PCMA/8000/1",
    100: "PCMU/16000",
    101: "telephone-event/8000",
    102: "CN/16000",
}
PROFILES = ("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "UDP/TLS/RTP/SAVPF")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
numbers = st.lists(st.sampled_from(sorted(PAYLOAD_TYPES)), min_size=1, max_size=8, unique=True)


@st.composite
def media(draw: st.DrawFn) -> MediaDescription:
    kind = draw(st.sampled_from(("audio", "audio", "audio", "video", "image", "application")))
    port = draw(st.sampled_from((0, 4000, 4002, 65534)))
    if kind != "audio":
        return MediaDescription(kind, port, draw(st.sampled_from(("RTP/AVP", "udptl", "UDP/DTLS/SCTP"))), ("96", "x"))
    formats = draw(numbers)
    mapped = [number for number in formats if number >= 96 or draw(st.booleans())]
    attributes = [("rtpmap", f"{number} {PAYLOAD_TYPES[number]}") for number in mapped]
    attributes += [(name, "") for name in draw(st.lists(st.sampled_from((*DIRECTIONS, "rtcp-mux")), max_size=2))]
    profile = draw(st.sampled_from(PROFILES))
    return MediaDescription(kind, port, profile, tuple(map(str, formats)), None, tuple(attributes))


@st.composite
def offers(draw: st.DrawFn) -> SessionDescription:
    streams = tuple(draw(st.lists(media(), min_size=1, max_size=4)))
    return SessionDescription("- 1 1 IN IP4 192.0.2.1", "-", ConnectionData("IP4", "192.0.2.1"), "3 4", (), streams)


accepted_codecs = st.permutations(("PCMU", "PCMA", "G722", "OPUS")).flatmap(
    lambda names: st.integers(1, 4).map(lambda count: tuple(names[:count]))
)
MAY_ANSWER = {
    "sendrecv": set(DIRECTIONS),
    "sendonly": {"recvonly", "inactive"},
    "recvonly": {"sendonly", "inactive"},
    "inactive": {"inactive"},
}


def direction_of(description: MediaDescription) -> str:
    return next((name for name, _ in description.attributes if name in DIRECTIONS), "sendrecv")


def check_answer(offer: SessionDescription, answer: SessionDescription) -> None:
    """RFC 3264 section 6."""
    assert answer.timing == offer.timing
    assert [(one.kind, one.protocol) for one in answer.media] == [(one.kind, one.protocol) for one in offer.media]
    for offered, answered in zip(offer.media, answer.media, strict=True):
        assert answered.formats
        if not answered.port:
            continue
        assert offered.port
        assert offered.kind == "audio"
        assert set(answered.formats) <= set(offered.formats)
        assert direction_of(answered) in MAY_ANSWER[direction_of(offered)]
        assert (answered.attribute("rtcp-mux") is None) or offered.attribute("rtcp-mux") is not None
        meant = {number: PAYLOAD_TYPES[int(number)] for number in offered.formats}
        said = dict(value.split(" ") for name, value in answered.attributes if name == "rtpmap")
        assert set(said) == set(answered.formats)
        assert all(meant[number].lower().removesuffix("/1") == said[number].lower() for number in said)
        names = [said[number].partition("/")[0] for number in answered.formats]
        assert names[0] != "telephone-event"
        assert len(names) - names.count("telephone-event") == len(set(names) - {"telephone-event"})


@given(offers(), accepted_codecs, st.booleans())
def test_any_answer_is_valid(offer: SessionDescription, accepted: tuple[str, ...], ours: bool) -> None:
    order = accepted if ours else ()
    try:
        params = negotiate(offer, accepted, order=order)
    except NotAcceptable:
        return
    answer = make_answer(offer, params, LOCAL, 1, 1, accepted, order)
    assert parse(answer.render().encode()) == answer
    check_answer(offer, answer)
    (audio,) = (one for one in answer.media if one.port)
    assert audio.port == LOCAL.port
    assert int(audio.formats[0]) == params.payload_type
    assert {int(number) for number in audio.formats} <= set(dict(params.heard))
    if ours:
        names = [name for number in audio.formats for heard, name in params.heard if heard == int(number)]
        answered = [name for name in names if name in accepted]
        assert answered == sorted(answered, key=accepted.index)


@given(offers(), offers(), accepted_codecs)
def test_any_outcome_of_our_offer_was_described_by_both_sides(
    offer: SessionDescription, answer: SessionDescription, accepted: tuple[str, ...]
) -> None:
    try:
        last = parse(make_answer(offer, negotiate(offer, accepted), LOCAL, 1, 1, accepted).render().encode())
    except NotAcceptable:
        return
    ours = make_offer(accepted, LOCAL, 1, 2, last=last, taken=payload_types(offer))
    assert parse(ours.render().encode()) == ours
    assert [(one.kind, one.protocol) for one in ours.media] == [(one.kind, one.protocol) for one in offer.media]
    theirs = payload_types(offer)
    assert all(theirs.get(number, meaning) == meaning for number, meaning in payload_types(ours).items())
    try:
        params = accept_answer(ours, answer)
    except NotAcceptable:
        return
    assert params.codec in accepted
    said = {number: name for one in answer.media for number, name in _audio_types(one).items()}
    assert said[params.payload_type] == params.codec
    assert set(dict(params.heard)) <= set(payload_types(ours)) | set(said)


def _audio_types(description: MediaDescription) -> dict[int, str]:
    names = {
        "PCMU/8000": "PCMU",
        "PCMA/8000": "PCMA",
        "PCMA/8000/1": "PCMA",
        "G722/8000": "G722",
        "opus/48000/2": "OPUS",
    }
    return {int(one): names.get(PAYLOAD_TYPES[int(one)], "") for one in description.formats if one.isdigit()}


lines = st.lists(
    st.sampled_from(
        [
            "m=audio 4000 RTP/AVP 0 8 9 96",
            "m=audio 4002 RTP/AVP 96 101",
            "m=video 1 RTP/AVP 96",
            "a=rtpmap:96 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=rtpmap:",
            "a=sendonly",
            "a=inactive",
            "a=rtcp:",
            "a=rtcp:1 2 3",
            "a=ptime:99999999",
            "c=IN IP4 0.0.0.0",
            "c=IN IP6 x",
        ]
    ),
    max_size=8,
)


@given(lines)
def test_an_answer_has_one_line_for_each_of_the_offers_and_at_most_one_open(extra: list[str]) -> None:
    offer = sdp(*extra)
    try:
        params = negotiate(offer, ALL)
    except NotAcceptable:
        return
    answer = parse(make_answer(offer, params, LOCAL, 1, 1).render().encode())
    assert [media.kind for media in answer.media] == [media.kind for media in offer.media]
    assert [media.port for media in answer.media if media.port] == [LOCAL.port]
