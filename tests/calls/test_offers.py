"""The descriptions of one call, one after another: streams in their places, payload types, versions, what is heard."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.calls.offers import OfferRules, Offers
from trunkline.sdp.negotiate import payload_types
from trunkline.sdp.session import SessionDescription, parse
from trunkline.sdp.values import Endpoint, MediaParams, NotAcceptable

CODECS = ("PCMU", "PCMA", "G722")
EVENTS = {101: "telephone-event"}
VIDEO = "m=video 5000 RTP/AVPF 96 97"
PLAIN = "m=audio 4000 RTP/AVP 0 8"
CRYPTO = "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:" + 40 * "A"


def sdp(*media: str) -> SessionDescription:
    head = ["v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "c=IN IP4 192.0.2.7", "t=0 0"]
    return parse("\r\n".join([*head, *media, ""]).encode())


def offers(codecs: tuple[str, ...] = CODECS, order: tuple[str, ...] | None = None) -> Offers:
    rules = OfferRules(codecs, "optional", None, codecs if order is None else order)
    made = Offers(rules, 77, Random(1).randbytes)
    made.local = Endpoint("198.51.100.7", 20000)
    return made


def taken(call: Offers, *media: str) -> str:
    """Our answer to an offer."""
    call.take_offer(sdp(*media))
    return call.answer()


def streams(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("m=")]


def version(text: str) -> int:
    return int(parse(text.encode()).origin.split()[2])


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"])
def test_a_call_that_began_with_video_keeps_both_streams_in_our_offers(profile: str) -> None:
    call = offers()
    lines = [CRYPTO] if "SAVP" in profile else []
    answered = taken(call, VIDEO, f"m=audio 4000 {profile} 0 8", *lines)
    assert streams(answered) == ["m=video 0 RTP/AVPF 96 97", f"m=audio 20000 {profile} 0 8"]
    offered = call.offer()
    assert streams(offered) == ["m=video 0 RTP/AVPF 96 97", f"m=audio 20000 {profile} 0 8 9 101"]
    assert offered.count("a=crypto") == len(lines)
    lines = [line.replace(":4", ":1") for line in lines]
    call.take_answer(sdp("m=video 0 RTP/AVPF 96", f"m=audio 4100 {profile} 8", *lines))
    assert call.agreed is not None
    assert (call.agreed.remote.port, call.agreed.codec) == (4100, "PCMA")
    assert streams(call.offer()) == streams(offered)


def test_streams_that_are_added_later_stay_and_none_is_lost() -> None:
    call = offers()
    taken(call, PLAIN)
    assert streams(taken(call, PLAIN, VIDEO, "m=application 9 UDP/BFCP *"))[1:] == [
        "m=video 0 RTP/AVPF 96 97",
        "m=application 0 UDP/BFCP *",
    ]
    assert streams(call.offer())[1:] == ["m=video 0 RTP/AVPF 96 97", "m=application 0 UDP/BFCP *"]


def test_what_was_refused_or_withdrawn_adds_no_stream() -> None:
    call = offers()
    taken(call, PLAIN)
    with pytest.raises(NotAcceptable):
        call.take_offer(sdp("m=audio 0 RTP/AVP 0", "m=image 4000 udptl t38"))
    call.take_offer(sdp(PLAIN, VIDEO))
    call.withdraw()
    assert len(streams(call.offer())) == 1


def test_of_two_audio_streams_the_one_in_use_stays_in_use() -> None:
    call = offers()
    assert streams(taken(call, "m=audio 0 RTP/AVP 0", "m=audio 4002 RTP/AVP 8"))[1] == "m=audio 20000 RTP/AVP 8"
    both = taken(call, "m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 8")
    assert streams(both) == ["m=audio 0 RTP/AVP 0", "m=audio 20000 RTP/AVP 8"]
    moved = taken(call, "m=audio 4000 RTP/AVP 0", "m=audio 0 RTP/AVP 8")
    assert streams(moved) == ["m=audio 20000 RTP/AVP 0", "m=audio 0 RTP/AVP 8"]
    assert streams(call.offer()) == ["m=audio 20000 RTP/AVP 0 8 9 101", "m=audio 0 RTP/AVP 8"]


def test_a_call_without_streams_gets_audio_by_a_later_offer_of_either_side() -> None:
    for later in (lambda call: taken(call, VIDEO, PLAIN), lambda call: call.offer()):
        call = offers()
        assert streams(taken(call)) == []
        with pytest.raises(NotAcceptable):
            call.take_answer(sdp(PLAIN))
        assert streams(later(call))[-1].startswith("m=audio 20000 RTP/AVP 0 8")


def test_the_version_grows_when_the_description_changes_and_only_then() -> None:
    call = offers()
    first = taken(call, PLAIN)
    assert taken(call, PLAIN) == first
    held = taken(call, PLAIN, "a=sendonly")
    assert taken(call, PLAIN, "a=sendonly") == held
    resumed = taken(call, PLAIN)
    offered = call.offer()
    assert call.offer() == offered
    assert [version(text) for text in (first, held, resumed, offered)] == [1, 2, 3, 4]


def test_numbers_of_the_peers_are_those_of_our_offers_too() -> None:
    call = offers(("PCMU", "OPUS"))
    taken(
        call,
        "m=audio 4000 RTP/AVP 107 0 101 99",
        "a=rtpmap:107 opus/48000/2",
        "a=rtpmap:101 iLBC/8000",
        "a=rtpmap:99 telephone-event/8000",
    )
    assert payload_types(parse(call.offer().encode())) == {
        0: "pcmu/8000",
        107: "opus/48000/2",
        99: "telephone-event/8000",
        110: "telephone-event/48000",
    }


def test_numbers_that_the_peer_has_used_for_something_else_are_left_alone() -> None:
    call = offers(("PCMU",))
    call.offer()
    call.take_answer(sdp("m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 iLBC/8000"))
    taken(call, "m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 speex/8000")
    taken(call, "m=audio 4000 RTP/AVP 0")
    assert payload_types(parse(call.offer().encode())) == {0: "pcmu/8000", 97: "telephone-event/8000"}


def test_what_was_agreed_before_is_heard_until_the_end() -> None:
    call = offers()
    first = call.take_offer(sdp("m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000"))
    assert dict(first.heard) == {0: "PCMU", 96: "telephone-event"}
    call.answer()
    changed = call.take_offer(sdp("m=audio 4000 RTP/AVP 8 96", "a=rtpmap:96 G722/8000"))
    assert (changed.codec, dict(changed.heard)) == ("PCMA", {0: "PCMU", 8: "PCMA", 96: "G722"})
    assert call.withdraw() == first
    assert call.take_offer(sdp("m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000")) == first


def test_upon_an_offer_of_ours_all_of_it_may_come_before_the_answer() -> None:
    call = offers()
    assert dict(call.before().heard) == {0: "PCMU", 8: "PCMA", 9: "G722", 101: "telephone-event"}
    agreed = call.take_offer(sdp("m=audio 4000 RTP/AVP 8"))
    call.answer()
    call.offer()
    assert dict(call.listening().heard) == {0: "PCMU", 8: "PCMA", 9: "G722", 101: "telephone-event"}
    assert call.abandon() == agreed


def test_an_answer_to_an_answer_that_is_sent_again_is_taken_as_one_to_an_offer() -> None:
    call = offers()
    taken(call, VIDEO, "m=audio 4000 RTP/SAVP 8 0", CRYPTO, "a=sendonly")
    before = call.agreed
    assert before is not None
    assert before.srtp is not None
    answer = sdp("m=video 0 RTP/AVPF 96", "m=audio 4008 RTP/SAVP 0 8", CRYPTO.replace(40 * "A", 40 * "B"))
    params = call.take_answer(answer)
    assert params.remote.port == 4008
    assert params.srtp is not None
    assert (params.srtp.ours, params.srtp.theirs != before.srtp.theirs) == (before.srtp.ours, True)
    with pytest.raises(NotAcceptable):
        call.take_answer(sdp("m=video 0 RTP/AVPF 96", "m=audio 4008 RTP/AVP 0 8"))
    assert call.agreed == params


def test_the_codec_of_the_other_leg_goes_first_whatever_the_order() -> None:
    for order in (CODECS, ()):
        call = offers(order=order)
        call.take_offer(sdp("m=audio 4000 RTP/AVP 9 0 8"))
        changed = call.prefer("PCMA")
        assert changed is not None
        assert changed.codec == "PCMA"
        assert call.prefer("OPUS") is None
        assert streams(call.answer())[0].startswith("m=audio 20000 RTP/AVP 8 ")


EXCHANGES = st.sampled_from(
    [
        (PLAIN,),
        (VIDEO, PLAIN),
        (PLAIN, VIDEO),
        (VIDEO, "m=audio 4000 RTP/AVPF 9 0 101", "a=rtpmap:101 telephone-event/8000"),
        ("m=audio 4000 RTP/SAVP 8 101", "a=rtpmap:101 opus/48000/2", CRYPTO),
        (PLAIN, "a=sendonly", "m=image 0 udptl t38"),
        ("m=image 4000 udptl t38",),
        ("m=audio 0 RTP/AVP 0",),
    ]
)


@given(st.lists(st.tuples(st.sampled_from(("offer", "answer", "take", "withdraw", "refuse")), EXCHANGES), max_size=12))
def test_each_description_of_ours_fits_those_before(exchanges: list[tuple[str, tuple[str, ...]]]) -> None:
    """RFC 3264 section 8: no stream is lost, moved nor given another kind; versions follow changes."""
    call = offers((*CODECS, "OPUS"))
    said: list[str] = []
    now: list[str] = []
    """The kinds of media of the session."""
    for what, media in exchanges:
        description = sdp(*media)
        try:
            if what == "offer":
                said.append(call.offer())
                kinds = [one.kind for one in parse(said[-1].encode()).media]
                assert kinds[: len(now)] == now
                now = kinds
            elif what == "take" and said:
                _check(call.take_answer(description))
            elif what != "take":
                _check(call.take_offer(description))
                if what == "answer":
                    said.append(call.answer())
                    now = [one.kind for one in description.media]
                    assert [one.kind for one in parse(said[-1].encode()).media] == now
                else:
                    call.withdraw()
        except NotAcceptable:
            assert what != "offer"
    for earlier, later in pairwise(said):
        assert version(later) - version(earlier) == (later != earlier)
        assert sum(one.port > 0 for one in parse(later.encode()).media) == 1


def _check(params: MediaParams) -> None:
    assert params.codec in dict(params.heard).values()
