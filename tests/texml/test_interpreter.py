"""Documents run by hand: the effects of each verb, what it waits for, and what follows."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.calls.commands import AnswerCall, EndCall, Instructions, Note, RecordingCallback, RejectCall
from trunkline.texml import effects, facts, verbs
from trunkline.texml.document import parse
from trunkline.texml.interpreter import Interpreter, seconds_of
from trunkline.workers.orders import RecordingOptions, SendDigits, StopPlayback, StopRecording
from trunkline.workers.reports import DigitHeard, PlaybackEnded, RecordingEnded, RecordingReason

BASE = "https://app.example/voice/start?x=1"
LIMIT = 50


def texml(text: str) -> Instructions:
    return Instructions(texml=f"<Response>{text}</Response>")


class Runs:
    """An interpreter and the effects of its last fact."""

    def __init__(self, text: str | None = None, *, answered: bool = True, base: str | None = BASE) -> None:
        self.interpreter = Interpreter(parse, answered=answered, step_limit=LIMIT)
        self.last: list[effects.Effect] = []
        if text is None:
            return
        if base is None:
            self.feed(facts.Instructed(texml(text)))
        else:
            self.feed(facts.Instructed(Instructions(url=base)))
            self.arrives(text, base)

    def feed(self, fact: facts.Fact) -> list[effects.Effect]:
        self.last = self.interpreter.handle(fact)
        return self.last

    def arrives(self, text: str, url: str = BASE) -> list[effects.Effect]:
        """The document that was asked for last."""
        return self.feed(facts.Fetched(self.one(effects.Fetch).job, parse(f"<Response>{text}</Response>", url), url))

    def one(self, kind: type[Any]) -> Any:
        """The one effect of this kind among the last ones."""
        (found,) = (effect for effect in self.last if isinstance(effect, kind))
        return found

    def kinds(self) -> list[type]:
        return [type(effect) for effect in self.last]

    def plays(self) -> list[effects.Effect]:
        """What is played now has ended."""
        return self.feed(PlaybackEnded(self.one(effects.PlaySound).job, None))

    def ticks(self) -> list[effects.Effect]:
        return self.feed(facts.TimerExpired(self.one(effects.StartTimer).job))


def test_a_document_is_fetched_run_and_ends_the_call() -> None:
    runs = Runs()
    given = Instructions(url=BASE, method="GET", fallback_url="https://spare.example/", fallback_method="POST")
    assert runs.feed(facts.Instructed(given)) == [
        effects.Fetch(
            1, effects.DocumentRequest(BASE, "GET"), effects.DocumentRequest("https://spare.example/", "POST")
        )
    ]
    as_said = effects.Fetch(
        1, effects.DocumentRequest(BASE, "GET"), effects.DocumentRequest("https://spare.example/", "GET")
    )
    assert Runs().feed(facts.Instructed(replace(given, fallback_method=None))) == [as_said], "as for the first"
    assert runs.arrives("<Say>Hello</Say><Pause/>") == [effects.PlaySound(2, verbs.Say("Hello"), 1)]
    assert runs.plays() == [effects.StartTimer(3, 1)]
    assert not runs.interpreter.over
    assert runs.ticks() == [effects.FinishDocument()]
    assert runs.interpreter.over


def test_no_document_ends_the_call_and_says_why() -> None:
    runs = Runs()
    runs.feed(facts.Instructed(Instructions(url=BASE)))
    assert runs.feed(facts.FetchFailed(99, "late")) == []
    assert runs.feed(facts.FetchFailed(1, "HTTP status 500")) == [
        Note("no instructions: HTTP status 500"),
        EndCall("no instructions", detail="HTTP status 500"),
    ]
    _, ended = Runs().feed(facts.Instructed(Instructions(texml="<oops")))
    assert isinstance(ended, EndCall)
    assert "not XML" in ended.detail


def test_instructions_of_nothing_end_the_call() -> None:
    runs = Runs()
    assert runs.feed(facts.Instructed(Instructions())) == [effects.FinishDocument()]
    assert runs.interpreter.over


@pytest.mark.parametrize(
    ("verb", "answers"),
    [
        ("<Answer/>", True),
        ("<Say>a</Say>", True),
        ("<Play>a.mp3</Play>", True),
        ("<Gather/>", True),
        ("<Record/>", True),
        ('<Start><Stream url="ws://a/"/></Start>', True),
        ('<Connect><Stream url="ws://a/"/></Connect>', True),
        ("<Dial>1</Dial>", True),
        ('<Dial answerOnBridge="true">1</Dial>', False),
        ("<Pause/>", False),
        ("<Stop><Stream/></Stop>", False),
        ("<Redirect>/b</Redirect>", False),
        ("<Reject/>", False),
        ("<Hangup/>", False),
        ("", False),
    ],
)
def test_a_verb_that_needs_it_answers_the_call_first(verb: str, answers: bool) -> None:
    runs = Runs(verb, answered=False)
    assert ([effect for effect in runs.last if not isinstance(effect, Note)] == [AnswerCall()]) is answers
    if answers:
        assert runs.feed(facts.CallAnswered()) == [
            effect for effect in Runs(verb, answered=True).last if not isinstance(effect, Note)
        ]
    else:
        assert AnswerCall() not in runs.last


def test_reject_refuses_a_call_that_rings_and_ends_one_that_does_not() -> None:
    assert Runs("<Reject/><Say>never</Say>", answered=False).last == [RejectCall(404, "Not Found")]
    assert Runs('<Reject reason="busy"/>', answered=False).last == [RejectCall(486, "Busy Here")]
    assert Runs("<Reject/>").last == [EndCall("the instructions reject the call")]
    assert Runs("<Hangup/><Say>never</Say>").last == [EndCall("the instructions hang up")]


def test_play_plays_files_relative_to_the_document_and_presses_keys() -> None:
    runs = Runs('<Play loop="0">../a.mp3</Play><Play digits="1w"/>')
    assert runs.last == [effects.PlaySound(2, effects.RemoteFile("https://app.example/a.mp3"), 0)]
    assert runs.plays() == [SendDigits("1w"), effects.StartTimer(3, 0.7)]
    assert runs.ticks() == [effects.FinishDocument()]
    assert seconds_of("0W#") == pytest.approx(1.4)


def test_what_cannot_be_played_is_noted_and_skipped() -> None:
    runs = Runs("<Play>a.mp3</Play><Play>http://[/</Play><Say>b</Say>", base=None)
    assert runs.kinds() == [Note, Note, effects.PlaySound]
    assert isinstance(runs.last[0], Note)
    assert "has no base" in runs.last[0].text
    assert runs.feed(PlaybackEnded(1, "not this job")) == []
    job = 3
    assert runs.feed(PlaybackEnded(job, "no voice")) == [
        Note("nothing was played: no voice"),
        effects.FinishDocument(),
    ]


def test_streams_of_start_go_on_and_stop_stops_them() -> None:
    runs = Runs(
        '<Start><Stream url="ws://a/" name="n" statusCallback="/cb"/></Start><Stop><Stream name="n"/></Stop><Pause/>'
    )
    params = stream_params("ws://a/", name="n", status_callback="https://app.example/cb")
    assert runs.last == [effects.StartStreaming(2, params), effects.StopStreams("n"), effects.StartTimer(3, 1)]
    assert runs.feed(facts.StreamOver(2, None)) == []


@pytest.mark.parametrize("error", [None, "refused"])
def test_connect_waits_until_its_own_stream_ends(error: str | None) -> None:
    runs = Runs('<Start><Stream url="ws://a/"/></Start><Connect><Stream url="ws://b/"/></Connect><Say>next</Say>')
    assert runs.kinds() == [effects.StartStreaming, effects.StartStreaming]
    assert runs.feed(facts.StreamOver(2, None)) == []
    assert runs.feed(facts.StreamOver(3, error)) == [effects.PlaySound(4, verbs.Say("next"), 1)]


@pytest.mark.parametrize(
    ("base", "reference", "url"),
    [
        ("https://app.example/voice/answer?x=1", "/media", "wss://app.example/media"),
        (
            "https://app.example/voice/answer?x=1",
            "media?call=%7B1%7D&a=b+c",
            "wss://app.example/voice/media?call=%7B1%7D&a=b+c",
        ),
        ("https://app.example/voice/answer", "../media", "wss://app.example/media"),
        ("https://app.example/voice/answer", "?stream", "wss://app.example/voice/answer?stream"),
        ("https://app.example:8443/voice", "//media.example/a", "wss://media.example/a"),
        ("http://app.example:8080/voice", "/media", "ws://app.example:8080/media"),
        ("HTTP://127.0.0.1/", "media", "ws://127.0.0.1/media"),
        ("http://[::1]:8080/voice", "media", "ws://[::1]:8080/media"),
        ("https://app.example/", "ws://b/a//b/../c?", "ws://b/a//b/../c?"),
        ("https://app.example/", "WSS://B/", "WSS://B/"),
        (None, "ws://b/", "ws://b/"),
    ],
)
def test_a_streams_url_may_be_relative_to_the_documents(base: str | None, reference: str, url: str) -> None:
    verbs = f'<Connect><Stream url="{reference.replace("&", "&amp;")}"/></Connect>'
    assert Runs(verbs, base=base).one(effects.StartStreaming).params == stream_params(url)


@pytest.mark.parametrize("parent", ["Start", "Connect"])
def test_a_streams_relative_url_without_a_base_is_skipped_with_a_warning(parent: str) -> None:
    runs = Runs(f'<{parent}><Stream url="/media"/></{parent}><Say>next</Say>', base=None)
    *warnings, sound = runs.last
    assert warnings == [
        Note(
            "line 1: <Stream> url must be a ws:// or wss:// URL, or relative to the document's: it has no scheme, "
            "and was skipped"
        ),
        Note(f"line 1: <{parent}> has no <Stream>, and was skipped"),
    ]
    assert sound == effects.PlaySound(1, verbs.Say("next"), 1)


# ── Gather ──────────────────────────────────────────────────────────────────────────────────────────────────

MENU = '<Gather action="menu" numDigits="3" timeout="7"><Say>a</Say><Pause length="2"/></Gather><Say>none</Say>'


def pressed(runs: Runs, keys: str) -> list[effects.Effect]:
    for key in keys:
        runs.feed(DigitHeard(key))
    return runs.last


def test_gather_prompts_then_waits_then_goes_on_without_keys() -> None:
    runs = Runs(MENU)
    assert runs.last == [effects.PlaySound(2, verbs.Say("a"), 1)]
    assert runs.plays() == [effects.StartTimer(3, 2)]
    assert runs.ticks() == [effects.StartTimer(4, 7)]
    assert runs.ticks() == [effects.PlaySound(5, verbs.Say("none"), 1)]


def test_a_key_stops_the_prompt_and_each_key_restarts_the_timeout() -> None:
    runs = Runs(MENU)
    assert runs.feed(DigitHeard("1")) == [StopPlayback(2), effects.StartTimer(3, 7)]
    assert runs.feed(PlaybackEnded(2, None)) == []
    assert runs.feed(DigitHeard("2")) == [effects.StartTimer(4, 7)]
    assert runs.feed(facts.TimerExpired(3)) == []
    request = effects.DocumentRequest(
        "https://app.example/voice/menu", "POST", (("Digits", "12"), ("FinishedOnKey", ""))
    )
    assert runs.feed(facts.TimerExpired(4)) == [effects.Fetch(5, request)]


def test_gather_ends_by_digit_count_or_finish_key_and_takes_valid_digits() -> None:
    request = pressed(Runs(MENU), "123")[-1]
    assert isinstance(request, effects.Fetch)
    assert dict(request.request.parameters) == {"Digits": "123", "FinishedOnKey": ""}
    request = pressed(Runs(MENU), "12#")[-1]
    assert isinstance(request, effects.Fetch)
    assert dict(request.request.parameters) == {"Digits": "12", "FinishedOnKey": "#"}
    assert pressed(Runs('<Gather action="/a" validDigits="12" finishOnKey=""/>'), "345#") == []
    assert pressed(Runs(MENU), "#")[-1] == effects.PlaySound(3, verbs.Say("none"), 1)


def test_the_answer_of_an_action_replaces_the_document_and_is_the_new_base() -> None:
    runs = Runs(MENU)
    pressed(runs, "123")
    assert runs.arrives("<Redirect>b</Redirect>", "https://other.example/c/d") == [
        effects.Fetch(6, effects.DocumentRequest("https://other.example/c/b", "POST"))
    ]


def test_gather_without_an_action_goes_on() -> None:
    assert pressed(Runs('<Gather numDigits="1"/><Say>a</Say>'), "1") == [effects.PlaySound(3, verbs.Say("a"), 1)]


# ── Dial ────────────────────────────────────────────────────────────────────────────────────────────────────

TWO = '<Dial action="/done" timeout="9" callerId="+1555"><Number>1</Number><Sip>sip:a@b</Sip></Dial>'


def status(runs: Runs) -> dict[str, str]:
    return dict(runs.one(effects.Fetch).request.parameters)


def test_urls_of_a_dialled_number_may_be_relative_to_the_documents() -> None:
    runs = Runs('<Dial><Number url="whisper" statusCallback="/events">1</Number></Dial>')
    target = runs.one(effects.PlaceLeg).target
    assert (target.url, target.status_callback) == (
        "https://app.example/voice/whisper",
        "https://app.example/events",
    )


def test_the_first_to_answer_wins_and_its_end_is_sent_to_the_action() -> None:
    runs = Runs(TWO)
    one, other, ringback = runs.last
    assert one == effects.PlaceLeg(2, verbs.DialTarget("number", "1"), "+1555", "", 9, 14400)
    assert isinstance(other, effects.PlaceLeg)
    assert ringback == effects.PlaySound(4, effects.Tone("ringback"), 0)
    assert runs.feed(facts.LegProgressed(2)) == []
    assert runs.feed(facts.LegAnswered(3)) == [
        effects.EndLeg(2, "elsewhere"),
        StopPlayback(4),
        effects.BridgeLeg(3),
    ]
    assert runs.feed(facts.LegAnswered(2)) == []
    assert runs.feed(facts.LegOver(2, "v3:one", "canceled", 0)) == []
    assert runs.feed(DigitHeard("*")) == []
    runs.feed(facts.LegOver(3, "v3:other", "completed", 17))
    assert status(runs) == {"DialCallStatus": "completed", "DialCallSid": "v3:other", "DialCallDuration": "17"}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [(("busy", "no-answer"), "busy"), (("failed", "no-answer"), "no-answer"), (("failed", "failed"), "failed")],
)
def test_the_action_of_an_unanswered_dial_receives_the_status(statuses: tuple[Any, Any], expected: str) -> None:
    runs = Runs(TWO)
    runs.feed(facts.LegOver(2, "v3:one", statuses[0], 0))
    runs.feed(facts.LegOver(3, "v3:two", statuses[1], 0))
    assert StopPlayback(4) in runs.last
    assert status(runs)["DialCallStatus"] == expected


def test_early_media_of_the_only_leg_is_heard_and_bridged_once() -> None:
    runs = Runs("<Dial>1</Dial><Say>after</Say>")
    assert runs.feed(facts.LegProgressed(2)) == [StopPlayback(3), effects.BridgeLeg(2)]
    assert runs.feed(facts.LegAnswered(2)) == []
    assert runs.feed(facts.LegOver(2, "v3:one", "completed", 3)) == [effects.PlaySound(4, verbs.Say("after"), 1)]


def test_answer_on_bridge_leaves_the_call_ringing_until_a_leg_answers() -> None:
    runs = Runs('<Dial answerOnBridge="true">1</Dial>', answered=False)
    assert runs.kinds() == [effects.PlaceLeg]
    assert runs.feed(facts.LegProgressed(2)) == []
    assert runs.feed(facts.LegAnswered(2)) == [AnswerCall()]
    assert runs.feed(facts.CallAnswered()) == [effects.BridgeLeg(2)]
    unanswered = Runs('<Dial answerOnBridge="true">1</Dial>', answered=False)
    assert unanswered.feed(facts.LegOver(2, "", "failed", 0)) == [effects.FinishDocument()]


def test_hangup_on_star_ends_the_second_call_only() -> None:
    runs = Runs('<Dial hangupOnStar="true">1</Dial><Say>after</Say>')
    assert runs.feed(DigitHeard("*")) == []
    runs.feed(facts.LegAnswered(2))
    assert runs.feed(DigitHeard("*")) == [effects.EndLeg(2, "star")]
    assert runs.feed(facts.LegOver(2, "v3:one", "completed", 3)) == [effects.PlaySound(4, verbs.Say("after"), 1)]


def test_the_end_of_the_call_ends_those_that_it_dialled() -> None:
    runs = Runs(TWO)
    assert runs.feed(facts.CallFinished()) == [effects.EndLeg(2, "ended"), effects.EndLeg(3, "ended")]
    assert runs.interpreter.over
    assert runs.feed(facts.LegAnswered(2)) == []


# ── Record ──────────────────────────────────────────────────────────────────────────────────────────────────

RECORD = '<Record action="/r" maxLength="30" finishOnKey="#" recordingStatusCallback="/rc"/>'


def recorded(job: int, reason: RecordingReason, digit: str = "", error: str | None = None) -> facts.RecordingSaved:
    return facts.RecordingSaved("RE1", "file.wav", RecordingEnded(job, 2.7, reason, digit, error))


def test_record_beeps_records_and_requests_its_action() -> None:
    runs = Runs(RECORD)
    assert runs.last == [effects.PlaySound(2, effects.Tone("beep"))]
    callback = RecordingCallback("https://app.example/rc")
    assert runs.plays() == [effects.RecordCall(3, RecordingOptions(2, 30, 0, "#"), "RecordVerb", callback)]
    runs.feed(recorded(3, "key", "#"))
    assert dict(runs.one(effects.Fetch).request.parameters) == {
        "RecordingUrl": "file.wav", "RecordingSid": "RE1", "RecordingDuration": "2", "Digits": "#",
    }  # fmt: skip


@pytest.mark.parametrize("call_ends_first", [True, False])
def test_a_voice_mail_that_ends_with_the_call_is_sent_to_the_action(call_ends_first: bool) -> None:
    runs = Runs(RECORD)
    runs.plays()
    if call_ends_first:
        assert runs.feed(facts.CallFinished()) == []
        assert not runs.interpreter.over
    runs.feed(recorded(3, "hangup"))
    assert runs.kinds() == [effects.Notify]
    if not call_ends_first:
        assert runs.feed(facts.CallFinished()) == []
    assert runs.interpreter.over


def test_a_failed_recording_is_reported_and_the_next_verb_runs() -> None:
    runs = Runs('<Record playBeep="false"/><Say>a</Say>')
    assert runs.feed(recorded(2, "error", error="disk full")) == [
        Note("nothing was recorded: disk full"),
        effects.PlaySound(3, verbs.Say("a"), 1),
    ]


def test_one_channel_of_a_record_has_the_caller_alone() -> None:
    runs = Runs('<Record playBeep="false" channels="single"/>')
    assert runs.one(effects.RecordCall).options == RecordingOptions(1, 3600, 0, "1234567890*#", "inbound")


@pytest.mark.parametrize(("record", "channels"), [("record-from-answer", 1), ("record-from-answer-dual", 2)])
def test_a_dial_is_recorded_from_its_answer_to_its_end(record: str, channels: Any) -> None:
    runs = Runs(f'<Dial record="{record}" recordingStatusCallback="/rc" recordingStatusCallbackEvent="absent">1</Dial>')
    assert runs.feed(facts.LegProgressed(2)) == [StopPlayback(3), effects.BridgeLeg(2)]
    callback = RecordingCallback("https://app.example/rc", "POST", "absent")
    begin = effects.RecordCall(4, RecordingOptions(channels), "DialVerb", callback)
    assert runs.feed(facts.LegAnswered(2)) == [begin]
    assert StopRecording(4) in runs.feed(facts.LegOver(2, "v3:one", "completed", 3))
    assert runs.feed(recorded(4, "stopped")) == []
    assert runs.feed(recorded(4, "error", error="disk full")) == [Note("nothing was recorded: disk full")]


def test_a_dial_may_be_recorded_with_its_ringing_until_other_instructions_come() -> None:
    runs = Runs('<Dial record="record-from-ringing">1</Dial>')
    begin = effects.RecordCall(3, RecordingOptions(1), "DialVerb", RecordingCallback())
    assert begin in runs.last
    assert effects.RecordCall not in map(type, runs.feed(facts.LegAnswered(2)))
    assert StopRecording(3) in runs.feed(facts.Instructed(texml("<Pause/>")))
    assert not any(isinstance(one, effects.RecordCall) for one in Runs("<Dial>1</Dial>").feed(facts.LegAnswered(2)))


# ── from the API ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("running", "stopped"),
    [
        ("<Say>a</Say>", [StopPlayback(2)]),
        ("<Gather><Say>a</Say></Gather>", [StopPlayback(2)]),
        ('<Connect><Stream url="ws://a/"/></Connect>', [effects.StopStreaming(2)]),
        ('<Start><Stream url="ws://a/"/></Start><Pause/>', [StopPlayback(3)]),
        ("<Dial>1</Dial>", [StopPlayback(3), effects.EndLeg(2, "redirected")]),
        ('<Record playBeep="false"/>', [StopRecording(2)]),
        ("<Record/>", [StopPlayback(2)]),
        ("<Redirect>/slow</Redirect>", []),
    ],
)
def test_new_instructions_replace_what_runs(running: str, stopped: list[effects.Effect]) -> None:
    runs = Runs(running)
    done = runs.feed(facts.Instructed(texml("<Hangup/>")))
    assert done == [*stopped, EndCall("the instructions hang up")]
    assert runs.feed(facts.Instructed(texml("<Say>too late</Say>"))) == []


# ── whatever happens ────────────────────────────────────────────────────────────────────────────────────────


def test_instructions_that_never_take_time_are_ended() -> None:
    runs = Runs("<Redirect>/again</Redirect>")
    for _ in range(LIMIT):
        if not runs.last or isinstance(runs.last[-1], EndCall | effects.FinishDocument):
            break
        runs.arrives("<Redirect>/again</Redirect>")
    why = f"the instructions went on for {LIMIT} steps without anything that takes time"
    assert runs.last == [Note(why), EndCall(why)]
    waiting = Runs("<Pause/><Redirect>/again</Redirect>")
    for _ in range(2 * LIMIT):
        waiting.ticks()
        waiting.arrives("<Pause/><Redirect>/again</Redirect>")
    assert waiting.kinds() == [effects.StartTimer]


@pytest.mark.parametrize("answered", [True, False])
def test_as_many_steps_as_the_limit_may_follow_each_other(answered: bool) -> None:
    """The end of the document is a step too."""
    stop, why = "<Stop><Stream/></Stop>", f"the instructions went on for {LIMIT} steps without anything that takes time"
    assert Runs(stop * (LIMIT - 1), answered=answered).last[-1] == effects.FinishDocument()
    assert Runs(stop * LIMIT, answered=answered).last[-1] == EndCall(why)
    paused = stop * (LIMIT - 1) + "<Pause/>" + stop * (LIMIT - 1)
    assert Runs(paused).ticks()[-1] == effects.FinishDocument()
    assert Runs(paused).feed(facts.Instructed(texml(stop * (LIMIT - 1))))[-1] == effects.FinishDocument()
    assert Runs(paused + stop).ticks()[-1] == EndCall(why)


@pytest.mark.parametrize(
    ("verb", "sequence", "took_time"),
    [
        ("<Say>a</Say>", [PlaybackEnded(1, None)], True),
        ("<Say>a</Say>", [PlaybackEnded(1, "no voice")], False),
        ("<Pause/>", [facts.TimerExpired(1)], True),
        ('<Connect><Stream url="ws://a/"/></Connect>', [facts.StreamOver(1, None)], True),
        ('<Connect><Stream url="ws://a/"/></Connect>', [facts.StreamOver(1, "refused")], False),
        ('<Gather numDigits="1"/>', [DigitHeard("1")], True),
        ("<Gather/>", [facts.TimerExpired(1)], True),
        ("<Dial>1</Dial>", [facts.LegAnswered(1), facts.LegOver(1, "v3:x", "completed", 1)], True),
        ("<Dial>1</Dial>", [facts.LegOver(1, "v3:x", "busy", 0)], False),
        ('<Record playBeep="false"/>', [recorded(1, "key")], True),
        ('<Record playBeep="false"/>', [recorded(1, "error", error="disk full")], False),
    ],
)
def test_steps_are_counted_from_the_last_verb_that_took_time(
    verb: str, sequence: list[facts.Fact], took_time: bool
) -> None:
    stop = "<Stop><Stream/></Stop>"
    runs = Runs(stop * (LIMIT - 2) + verb + stop * (LIMIT - 1), base=None)
    for fact in sequence:
        runs.feed(fact)
    assert runs.kinds()[-1] is (effects.FinishDocument if took_time else EndCall)


VERBS = st.sampled_from(
    [
        "<Say>a</Say>",
        "<Play>/a.mp3</Play>",
        '<Play digits="1"/>',
        "<Pause/>",
        '<Start><Stream url="ws://a/"/></Start>',
        '<Connect><Stream url="ws://a/"/></Connect>',
        "<Stop><Stream/></Stop>",
        MENU,
        "<Dial>1</Dial>",
        '<Dial answerOnBridge="true" hangupOnStar="true">1</Dial>',
        TWO,
        RECORD,
        "<Redirect>/b</Redirect>",
        "<Reject/>",
        "<Hangup/>",
    ]
)
TEXTS = st.lists(VERBS, max_size=5).map("".join)
JOBS = st.integers(0, 12)
FACTS: st.SearchStrategy[facts.Fact] = st.one_of(
    TEXTS.map(lambda text: facts.Instructed(texml(text))),
    st.just(facts.Instructed(Instructions(url=BASE))),
    st.builds(lambda job, text: facts.Fetched(job, parse(f"<Response>{text}</Response>"), BASE), JOBS, TEXTS),
    st.builds(facts.FetchFailed, JOBS, st.just("no")),
    st.just(facts.CallAnswered()),
    st.builds(DigitHeard, st.sampled_from("12*#")),
    st.builds(facts.TimerExpired, JOBS),
    st.builds(PlaybackEnded, JOBS, st.none() | st.just("no")),
    st.builds(facts.StreamOver, JOBS, st.none() | st.just("no")),
    st.builds(recorded, JOBS, st.sampled_from(["key", "hangup", "error"])),
    st.builds(facts.LegProgressed, JOBS),
    st.builds(facts.LegAnswered, JOBS),
    st.builds(facts.LegOver, JOBS, st.just("v3:x"), st.sampled_from(["completed", "busy", "failed"]), st.just(1)),
)


@given(TEXTS, st.booleans(), st.lists(FACTS, max_size=25))
@settings(max_examples=300, deadline=None)
def test_any_facts_in_any_order_leave_it_sound_and_the_calls_end_ends_it(
    text: str, answered: bool, sequence: list[facts.Fact]
) -> None:
    runs = Runs(answered=answered)
    placed: set[int] = set()
    ended: set[int] = set()
    for fact in (facts.Instructed(texml(text)), *sequence, facts.CallFinished()):
        over = runs.interpreter.over
        for effect in runs.feed(fact):
            assert not over
            if isinstance(effect, effects.PlaceLeg):
                placed.add(effect.leg)
            elif isinstance(effect, effects.EndLeg):
                ended.add(effect.leg)
        if isinstance(fact, facts.LegOver):
            ended.add(fact.leg)
    if not runs.interpreter.over:  # a recording whose file is still to come
        for job in range(60):
            assert set(map(type, runs.feed(recorded(job, "hangup")))) <= {effects.Notify, Note}
    assert runs.interpreter.over
    assert placed <= ended
