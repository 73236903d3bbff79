"""Identifiers from given bytes; numbers without what is only there to be read, and patterns of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ids import (
    CALL_SID_RANDOM,
    call_sid,
    end_event_id,
    life_name,
    matches,
    new_life,
    plain_number,
    random_uuid,
    recording_sid,
)


def test_a_call_sid_has_telnyx_form_and_length() -> None:
    telnyx = "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"
    assert len(call_sid(new_life(bytes(5)), bytes(CALL_SID_RANDOM))) == len(telnyx)
    assert call_sid(new_life(bytes(5)), b"\xfb\xef\xff") == "v3:AAAAAAAA--__"


def test_a_life_is_a_slice_of_its_sids_and_takes_36_random_bits() -> None:
    life = new_life(b"\xff\x10\x83\x10\x51")
    assert life == b"\x00\x0f\x10\x83\x10\x51"
    assert call_sid(life, bytes(CALL_SID_RANDOM))[3:11] == life_name(life) == "AA8QgxBR"
    sid = recording_sid(life, b"\xff" * 16)
    assert sid == "000f1083-1051-8fff-bfff-ffffffffffff"
    assert recording_sid(life, bytes(16)) == "000f1083-1051-8000-8000-000000000000"


def test_the_event_that_ends_something_has_the_same_id_each_time() -> None:
    assert end_event_id("v3:a") == end_event_id("v3:a") != end_event_id("v3:b")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", end_event_id(""))


def test_a_random_uuid_is_of_version_4_and_lower_case() -> None:
    assert random_uuid(b"\xff" * 16) == "ffffffff-ffff-4fff-bfff-ffffffffffff"
    assert random_uuid(bytes(16)) == "00000000-0000-4000-8000-000000000000"
    assert re.fullmatch(r"[0-9a-f-]{36}", random_uuid(bytes(range(240, 256))))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("+49 (30) 123-456.78", "+493012345678"),
        ("+1-2", "+12"),
        ("030-1234567", "0301234567"),
        ("(312) 201-0094", "3122010094"),
        ("100-200", "100-200"),
        ("100-2000", "1002000"),
        ("1-2*3#4.5-67", "12*3#4567"),
        ("192.0.2.100", "192.0.2.100"),
        ("192.168.2.10", "192.168.2.10"),
        ("+192.0.2.1", "+192021"),
        ("anna-maria", "anna-maria"),
        ("1-800-CALL", "1-800-CALL"),
        ("4930123", "4930123"),
        ("+", "+"),
        ("-", "-"),
        ("+-*#-", "+-*#-"),
        ("1-+2345678", "1-+2345678"),
        ("", ""),
    ],
)
def test_separators_are_removed_from_a_number(text: str, plain: str) -> None:
    assert plain_number(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"), [("100-200", "100200"), ("192.0.2.1", "192021"), ("anna-maria", "anna-maria"), ("1-2", "12")]
)
def test_separators_are_removed_from_what_must_be_a_number(text: str, plain: str) -> None:
    assert plain_number(text, marked=True) == plain


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_star_is_any_characters(pattern: str, number: str) -> None:
    same = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), number) is not None
    assert matches(pattern, number) == same
