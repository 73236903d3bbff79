"""`a=crypto` lines, and what offers and answers come to with them."""

from base64 import b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sdp.crypto import LIFETIME_LIMIT, RANDOM_BYTES, SUITES, Crypto, Security, choose, fresh, parse
from trunkline.sdp.negotiate import accept_answer, make_answer, make_offer, negotiate
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.session import parse as parse_sdp
from trunkline.sdp.values import Endpoint, MediaParams, NotAcceptable, SrtpKeys

S80, S32 = SUITES
THEIRS = bytes(range(30))
INLINE = "inline:" + b64encode(THEIRS).decode()
OURS = fresh(bytes(range(100, 100 + RANDOM_BYTES)))
LOCAL = Endpoint("198.51.100.7", 20000)
OFF, OPTIONAL, REQUIRED = Security("off", OURS), Security("optional", OURS), Security("required", OURS)
CODECS = ("PCMU", "PCMA")
LINE = f"a=crypto:1 {S80} {INLINE}"


def sdp(*lines: str) -> SessionDescription:
    head = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    return parse_sdp("\r\n".join([*head, *lines, ""]).encode())


def secure(*lines: str) -> SessionDescription:
    return sdp("m=audio 4000 RTP/SAVP 0", *lines)


def test_each_of_our_lines_has_a_key_of_its_own() -> None:
    assert [(line.tag, line.suite, len(line.key)) for line in OURS] == [(1, S80, 30), (2, S32, 30)]
    assert OURS[0].key != OURS[1].key
    assert [parse(str(line)) for line in OURS] == list(OURS)


@pytest.mark.parametrize(
    "extra",
    ["", "|2^31", "|2^48", "|1000000", "|281474976710656", " WSH=128", "|2^20 WSH=64 -NEW=1", " -UNKNOWN"],
)
def test_lifetimes_and_hints_are_read_and_change_nothing(extra: str) -> None:
    assert parse(f"7 {S32} {INLINE}{extra}") == Crypto(7, S32, THEIRS)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "form"),
        (f"x {S80} {INLINE}", "form"),
        (f"1 {S80}", "form"),
        (f"1 F8_128_HMAC_SHA1_80 {INLINE}", "F8_128_HMAC_SHA1_80 is not supported"),
        (f"1 AEAD_AES_128_GCM {INLINE}", "AEAD_AES_128_GCM is not supported"),
        (f"1 {S80} {INLINE}|1:4", "MKI"),
        (f"1 {S80} {INLINE}|2^20|1:4", "MKI"),
        (f"1 {S80} {INLINE}|2^20|1:4;{INLINE}|2^20|2:4", "several keys"),
        (f"1 {S80} {INLINE}|2^49", "lifetime 2\\^49"),
        (f"1 {S80} {INLINE}|0", "lifetime 0"),
        (f"1 {S80} {INLINE}|{LIFETIME_LIMIT + 1}", "lifetime"),
        (f"1 {S80} {INLINE}|soon", "cannot be parsed"),
        (f"1 {S80} uri:http://key.example", "cannot be parsed"),
        (f"1 {S80} {INLINE}AAAA", "33 bytes instead of 30"),
        (f"1 {S80} inline:", "0 bytes"),
        (f"1 {S80} inline:***", "not base64"),
        (f"1 {S80} inline:AAA", "not base64"),
        (f"1 {S80} {INLINE} UNENCRYPTED_SRTP", "UNENCRYPTED_SRTP"),
        (f"1 {S80} {INLINE} KDR=3", "KDR=3"),
    ],
)
def test_unsupported_lines_are_refused_with_a_reason_and_without_the_key(value: str, reason: str) -> None:
    with pytest.raises(NotAcceptable, match=reason) as refused:
        parse(value)
    assert INLINE[7:20] not in str(refused.value)


@given(st.text() | st.builds(lambda key, rest: f"1 {S80} inline:{key}{rest}", st.text(), st.text()))
def test_any_text_is_a_crypto_line_or_refused(value: str) -> None:
    try:
        line = parse(value)
    except NotAcceptable:
        return
    assert len(line.key) == 30


def test_the_first_supported_line_is_accepted_with_our_key_of_its_suite() -> None:
    lines = [f"1 AEAD_AES_128_GCM {INLINE}", f"2 {S32} {INLINE}", f"3 {S80} {INLINE}"]
    assert choose(lines, OURS) == SrtpKeys(S32, 2, OURS[1].key, THEIRS)
    with pytest.raises(NotAcceptable, match="was not offered"):
        choose(lines[1:2], OURS[:1])


def test_keys_are_in_no_repr_and_survive_the_wire() -> None:
    params = negotiate(secure(LINE), CODECS, OPTIONAL)
    for value in (params, OURS, OPTIONAL, secure(LINE)):
        assert INLINE[7:20] not in repr(value)
        assert repr(THEIRS)[2:-1] not in repr(value)
        assert "ours=b" not in repr(value)
        assert "key=" not in repr(value)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(params), type=MediaParams) == params


def test_an_encrypted_offer_gets_an_encrypted_answer() -> None:
    offer = secure(f"a=crypto:5 {S32} {INLINE}|2^31")
    params = negotiate(offer, CODECS, OPTIONAL)
    assert params.srtp == SrtpKeys(S32, 5, OURS[1].key, THEIRS)
    (audio,) = parse_sdp(make_answer(offer, params, LOCAL, 1, 1).render().encode()).media
    assert audio.protocol == "RTP/SAVP"
    assert [value for name, value in audio.attributes if name == "crypto"] == [
        f"5 {S32} inline:{b64encode(OURS[1].key).decode()}"
    ]


@pytest.mark.parametrize(
    ("offer", "security", "reason"),
    [
        (secure(LINE), OFF, "switched off"),
        (sdp("m=audio 4000 RTP/AVP 0"), REQUIRED, "required"),
        (sdp("m=audio 4000 RTP/AVP 0", f"a=crypto:1 AEAD_AES_128_GCM {INLINE}"), REQUIRED, "AEAD_AES_128_GCM"),
        (secure(), OPTIONAL, "without an a=crypto line"),
        (secure(f"a=crypto:1 {S80} {INLINE}|1:4"), OPTIONAL, "MKI"),
        (secure(LINE, "c=IN IP4 224.2.1.1"), OPTIONAL, "multicast"),
        (sdp("m=audio 4000 RTP/SAVP 18", LINE), OPTIONAL, "no common codec"),
        (sdp("m=audio 4000 UDP/TLS/RTP/SAVP 0"), OPTIONAL, "DTLS"),
    ],
)
def test_the_setting_decides_what_is_refused(offer: SessionDescription, security: Security, reason: str) -> None:
    with pytest.raises(NotAcceptable, match=reason):
        negotiate(offer, CODECS, security)


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF", "rtp/avp"])
@pytest.mark.parametrize("security", [OPTIONAL, REQUIRED], ids=["optional", "required"])
def test_crypto_lines_of_a_plain_profile_are_taken_and_answered_under_it(security: Security, profile: str) -> None:
    offer = sdp(f"m=audio 4000 {profile} 0", f"a=crypto:1 AEAD_AES_256_GCM {INLINE}", f"a=crypto:2 {S32} {INLINE}")
    params = negotiate(offer, CODECS, security)
    assert params.srtp == SrtpKeys(S32, 2, OURS[1].key, THEIRS)
    (audio,) = parse_sdp(make_answer(offer, params, LOCAL, 1, 1).render().encode()).media
    assert audio.protocol == profile
    assert audio.attribute("crypto") == f"2 {S32} inline:{b64encode(OURS[1].key).decode()}"


@pytest.mark.parametrize(
    ("security", "line"),
    [(OFF, LINE), (OPTIONAL, f"a=crypto:1 AEAD_AES_256_GCM {INLINE}"), (OPTIONAL, "a=crypto:nonsense")],
    ids=["off", "a suite that we cannot do", "broken"],
)
def test_unsupported_crypto_lines_of_a_plain_profile_leave_the_audio_plain(security: Security, line: str) -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", line)
    params = negotiate(offer, CODECS, security)
    assert params.srtp is None
    assert "crypto" not in make_answer(offer, params, LOCAL, 1, 1).render()


@pytest.mark.parametrize(
    ("security", "port"), [(OFF, 4000), (OPTIONAL, 4002), (REQUIRED, 4002)], ids=["off", "optional", "required"]
)
def test_a_plain_description_with_crypto_lines_is_preferred_to_one_without(security: Security, port: int) -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0", LINE)
    params = negotiate(offer, CODECS, security)
    assert params.remote.port == port
    assert [media.port > 0 for media in parse_sdp(make_answer(offer, params, LOCAL, 1, 1).render().encode()).media] == [
        port == 4000,
        port == 4002,
    ]


def test_crypto_lines_in_an_answer_to_a_plain_offer_are_ignored() -> None:
    offer = parse_sdp(make_offer(CODECS, LOCAL, 1, 1).render().encode())
    assert accept_answer(offer, sdp("m=audio 4000 RTP/AVP 0", LINE)).srtp is None


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_encrypted_call_of_a_plain_profile_may_become_plain_if_allowed(encrypted: bool) -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", LINE)
    ours = parse_sdp(make_answer(offer, negotiate(offer, CODECS, OPTIONAL), LOCAL, 1, 1).render().encode())
    answer = sdp("m=audio 4000 RTP/AVP 0", *[LINE] * encrypted)
    assert (accept_answer(ours, answer, srtp="optional").srtp is not None) == encrypted
    if not encrypted:
        with pytest.raises(NotAcceptable, match="must be encrypted"):
            accept_answer(ours, answer, srtp="required")


@pytest.mark.parametrize(
    ("security", "ports"),
    [(OFF, [20000, 0]), (OPTIONAL, [0, 20000]), (REQUIRED, [0, 20000])],
    ids=["off", "optional", "required"],
)
def test_the_setting_chooses_between_a_plain_and_an_encrypted_description(security: Security, ports: list[int]) -> None:
    offer = sdp("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0 8", LINE)
    params = negotiate(offer, CODECS, security)
    answer = parse_sdp(make_answer(offer, params, LOCAL, 1, 1).render().encode())
    assert [media.port for media in answer.media] == ports
    assert ("crypto" in make_answer(offer, params, LOCAL, 1, 1).render()) == (ports[0] == 0)


def test_an_unusable_encrypted_description_gives_way_to_a_plain_one() -> None:
    offer = sdp("m=audio 4000 RTP/SAVP 0", f"a=crypto:1 AEAD_AES_128_GCM {INLINE}", "m=audio 4002 RTP/AVP 0")
    assert negotiate(offer, CODECS, OPTIONAL).remote.port == 4002
    with pytest.raises(NotAcceptable, match="AEAD_AES_128_GCM"):
        negotiate(offer, CODECS, REQUIRED)


def test_both_ends_of_our_encrypted_offer_agree_on_the_keys() -> None:
    offer = parse_sdp(make_offer(CODECS, LOCAL, 1, 1, OURS).render().encode())
    assert offer.media[0].protocol == "RTP/SAVP"
    their_lines = fresh(bytes(RANDOM_BYTES))
    answered = negotiate(offer, CODECS, Security("required", their_lines))
    answer = parse_sdp(make_answer(offer, answered, LOCAL, 1, 1).render().encode())
    params = accept_answer(offer, answer)
    assert params.srtp == SrtpKeys(S80, 1, OURS[0].key, their_lines[0].key)
    assert answered.srtp == SrtpKeys(S80, 1, their_lines[0].key, OURS[0].key)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (secure(f"a=crypto:2 {S80} {INLINE}"), "tag 2"),
        (secure(f"a=crypto:9 {S32} {INLINE}"), "tag 9"),
        (secure(), "without an a=crypto line"),
        (sdp("m=audio 4000 RTP/AVP 0"), "required"),
    ],
)
def test_an_answer_must_take_one_of_the_lines_that_we_offered(answer: SessionDescription, reason: str) -> None:
    with pytest.raises(NotAcceptable, match=reason):
        accept_answer(parse_sdp(make_offer(CODECS, LOCAL, 1, 1, OURS).render().encode()), answer)


def test_an_encrypted_answer_to_a_plain_offer_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="switched off"):
        accept_answer(parse_sdp(make_offer(CODECS, LOCAL, 1, 1).render().encode()), secure(LINE))
