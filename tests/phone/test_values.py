"""What a phone is asked for and what it reports."""

import pytest

from trunkline.phone.values import LATE, CallPlan, CallRefused, Impairments, LineCounts, Pacing, PhoneError
from trunkline.sdp.values import Endpoint


def test_a_refusal_has_its_status() -> None:
    error = CallRefused(486, "486 Busy Here")
    assert (error.status, str(error)) == (486, "486 Busy Here")
    assert isinstance(error, PhoneError)


def test_a_line_has_faults_if_one_of_them_is_set() -> None:
    assert not Impairments().any
    assert all(one.any for one in (Impairments(loss=0.1), Impairments(jitter=0.01), Impairments(reorder=0.1)))


def test_what_is_not_asked_for() -> None:
    plan = CallPlan("sip:a@b", Endpoint("192.0.2.1", 5060))
    assert (plan.user, plan.credentials, plan.codecs, plan.ptime) == ("phone", None, ("PCMU", "PCMA", "G722"), None)
    assert (plan.rate, plan.drift_ppm, plan.headers) == (16000, 0.0, ())
    assert Impairments() == Impairments(0.0, 0.0, 0.0)
    counts = LineCounts()
    assert (counts.sent, counts.dropped, counts.reordered) == (0, 0, 0)


def test_our_own_lateness_is_counted_beyond_a_limit() -> None:
    pacing = Pacing()
    assert pacing.mean_ms == 0
    for behind in (0.0, LATE, 0.016):
        pacing.sent_at(0.0, behind)
    assert (pacing.packets, pacing.late, pacing.worst) == (3, 1, 0.016)
    assert pacing.mean_ms == pytest.approx(7)
