"""What a phone is asked for and what it reports."""

from trunkline.phone.values import CallRefused, Impairments, PhoneError


def test_a_refusal_has_its_status() -> None:
    error = CallRefused(486, "486 Busy Here")
    assert (error.status, str(error)) == (486, "486 Busy Here")
    assert isinstance(error, PhoneError)


def test_a_line_has_faults_if_one_of_them_is_set() -> None:
    assert not Impairments().any
    assert all(one.any for one in (Impairments(loss=0.1), Impairments(jitter=0.01), Impairments(reorder=0.1)))
