"""How each of the RFC 4475 torture messages is handled.

The first part of each comment is the RFC's verdict, where it leaves a choice ours follows.
"""

from pathlib import Path

import pytest

from sip.bench import Bench, Caller
from trunkline.sip.message.validation import Discard, Rejection
from trunkline.sip.values import InviteReceived

VECTORS = Path(__file__).parent.parent / "vectors" / "rfc4475"

ACCEPTED = {
    "baddate",  # a date that is not GMT: may be ignored, we do not look at it
    "esc01",  # escaped characters in URIs
    "escruri",  # headers in the Request-URI: may be ignored
    "longreq",  # very long but sound values
    "sdp01",  # Accept asks for what it may
}
ANSWERED = {
    "badaspec": 200,  # spaces around the addr-spec: may be ignored
    "baddn": 200,  # a comma in an unquoted display name: the meaning is clear
    "badbranch": 200,  # the magic cookie alone is as good as no branch
    "invut": 415,  # a body of unknown type
    "lwsdisp": 200,  # no space before the bracket
    "semiuri": 200,  # parameters in the user part
    "transports": 200,  # unknown transports in old Vias
    "zeromf": 200,  # no hops left, but here it is answered
}
REFUSED = {
    "badinv01": 400,  # separators without values in the Via
    "badvers": 505,  # another protocol version
    "bext01": 420,  # unknown extensions required
    "clerr": 400,  # the body is shorter than Content-Length
    "cparam01": 401,
    "cparam02": 401,
    "dblreq": 401,
    "esc02": 501,  # an escaped method name is another method
    "escnull": 401,
    "insuf": 400,  # mandatory headers absent
    "intmeth": 501,  # an interesting method
    "ltgtruri": 400,  # brackets around the Request-URI
    "lwsruri": 400,  # spaces in the Request-URI
    "lwsstart": 400,  # several spaces in the request line
    "mcl01": 400,  # two Content-Lengths
    "mismatch01": 400,  # another method in CSeq
    "mismatch02": 400,
    "mpart01": 405,
    "multi01": 400,  # several of what there may be one
    "ncl": 400,  # negative Content-Length
    "novelsc": 416,  # unknown URI schemes
    "quotbal": 400,  # unbalanced quotes
    "regaut01": 401,
    "regbadct": 400,
    "regescrt": 401,
    "scalar02": 400,  # numbers out of range
    "trws": 400,  # white space after the request line
    "unkscm": 416,
    "unksm2": 400,
    "wsinv": 481,  # tortuous but sound; its To tag is of a dialog that we do not have
}
DROPPED = {
    "bigcode",  # a response with an impossible status
    "scalarlg",  # a response with numbers out of range
}
UNASKED = {"bcast", "noreason", "unreason"}  # sound responses, to nothing that we asked
OTHER = {"inv2543"}


def read(name: str) -> bytes:
    return (VECTORS / f"{name}.dat").read_bytes()


def test_each_torture_message_is_listed() -> None:
    verdicts = [ACCEPTED, ANSWERED, REFUSED, DROPPED, UNASKED, OTHER]
    assert sorted(name for names in verdicts for name in names) == sorted(path.stem for path in VECTORS.glob("*.dat"))


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_sound_invites_become_calls(bench: Bench, name: str) -> None:
    bench.receive(read(name))
    assert isinstance(bench.event(), InviteReceived)
    assert bench.wire.take_lines() == ["100 Trying"]


@pytest.mark.parametrize(("name", "status"), sorted(ANSWERED.items()))
def test_sound_requests_are_answered(bench: Bench, name: str, status: int) -> None:
    bench.receive(read(name))
    assert bench.wire.take_lines()[0].startswith(f"{status} ")
    assert bench.events == []


@pytest.mark.parametrize(("name", "status"), sorted(REFUSED.items()))
def test_broken_and_unsupported_requests_are_refused(bench: Bench, name: str, status: int) -> None:
    with pytest.raises(Rejection) as refused:
        bench.receive(read(name))
    assert refused.value.status == status
    assert bench.events == []


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_broken_responses_are_dropped(bench: Bench, name: str) -> None:
    with pytest.raises(Discard):
        bench.receive(read(name))


@pytest.mark.parametrize("name", sorted(UNASKED))
def test_valid_responses_without_a_transaction_are_discarded(bench: Bench, name: str) -> None:
    with pytest.raises(Discard, match="without a request of ours"):
        bench.receive(read(name))
    bench.receive(Caller().request("OPTIONS"))
    assert bench.wire.take_lines() == ["200 OK"]


@pytest.mark.xfail(strict=True, raises=Rejection, reason="RFC 2543 callers without Contact are refused with 400")
def test_an_rfc_2543_invite_becomes_a_call(bench: Bench) -> None:
    bench.receive(read("inv2543"))
    assert isinstance(bench.event(), InviteReceived)
