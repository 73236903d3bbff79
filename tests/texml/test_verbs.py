"""Verbs without attributes, as docs/reference/texml.md describes them."""

from dataclasses import fields

import pytest

from trunkline.texml.verbs import Dial, DialTarget, Gather, Pause, Play, Record, Redirect, Reject, Say, Stop, Verb

DEFAULTS: list[tuple[Verb | DialTarget, dict[str, object]]] = [
    (Say("a"), {"voice": "man", "language": "", "loop": 1}),
    (Play(), {"url": "", "loop": 1, "digits": ""}),
    (Pause(), {"length": 1}),
    (Stop(), {"name": None}),
    (
        Gather(),
        {
            "prompts": (),
            "action": None,
            "method": "POST",
            "timeout": 5,
            "finish_on": "#",
            "max_digits": 128,
            "valid": "0123456789*#ABCD",
        },
    ),
    (
        DialTarget("number", "1"),
        {
            "headers": (),
            "username": None,
            "password": None,
            "send_digits": "",
            "url": None,
            "method": "POST",
            "status_callback": None,
            "status_callback_method": "POST",
            "status_callback_events": "completed",
        },
    ),
    (
        Dial(()),
        {
            "action": None,
            "method": "POST",
            "timeout": 30,
            "time_limit": 14400,
            "caller_id": None,
            "caller_name": "",
            "answer_on_bridge": False,
            "hangup_on_star": False,
            "record": "do-not-record",
            "recording_callback": None,
            "recording_callback_method": "POST",
            "recording_callback_events": "completed",
        },
    ),
    (
        Record(),
        {
            "action": None,
            "method": "POST",
            "timeout": 0,
            "max_length": 3600,
            "finish_on": "1234567890*#",
            "play_beep": True,
            "channels": 2,
            "status_callback": None,
            "status_callback_method": "POST",
        },
    ),
    (Redirect("/a"), {"method": "POST"}),
    (Reject(), {"reason": "rejected"}),
]


@pytest.mark.parametrize(("verb", "defaults"), DEFAULTS, ids=lambda value: type(value).__name__)
def test_what_a_document_leaves_out_is_as_documented(verb: Verb | DialTarget, defaults: dict[str, object]) -> None:
    optional = {field.name for field in fields(verb)} - {"text", "kind", "to", "targets"}
    assert {name: getattr(verb, name) for name in optional - {"url"} | (defaults.keys() & {"url"})} == defaults
