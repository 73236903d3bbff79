"""Documents run by hand: what each verb wants done, what it waits for, and what follows."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.calls.commands import Instructions
from trunkline.streaming.params import StreamParams
from trunkline.texml import values as to
from trunkline.texml import verbs
from trunkline.texml.document import parse
from trunkline.texml.interpreter import Interpreter, seconds_of

BASE = "https://app.example/voice/start?x=1"
LIMIT = 50


def texml(text: str) -> Instructions:
    return Instructions(texml=f"<Response>{text}</Response>")


class Runs:
    """An interpreter and everything it ever wanted done."""

    def __init__(self, text: str | None = None, *, answered: bool = True, base: str | None = BASE) -> None:
        self.interpreter = Interpreter(answered=answered, step_limit=LIMIT)
        self.last: list[to.Effect] = []
        if text is None:
            return
        if base is None:
            self.tell(to.Instructed(texml(text)))
        else:
            self.tell(to.Instructed(Instructions(url=base)))
            self.arrives(text, base)

    def tell(self, fact: to.Fact) -> list[to.Effect]:
        self.last = self.interpreter.handle(fact)
        return self.last

    def arrives(self, text: str, url: str = BASE) -> list[to.Effect]:
        """The document that was asked for last."""
        return self.tell(to.Fetched(self.one(to.Fetch).job, parse(f"<Response>{text}</Response>"), url))

    def one(self, kind: type[Any]) -> Any:
        """The one effect of this kind among the last ones."""
        (found,) = (effect for effect in self.last if isinstance(effect, kind))
        return found

    def kinds(self) -> list[type]:
        return [type(effect) for effect in self.last]

    def plays(self) -> list[to.Effect]:
        """What is played now has ended."""
        return self.tell(to.SoundPlayed(self.one(to.PlaySound).job, None))

    def ticks(self) -> list[to.Effect]:
        return self.tell(to.TimerExpired(self.one(to.StartTimer).job))


def test_a_document_is_fetched_run_and_ends_the_call() -> None:
    runs = Runs()
    given = Instructions(url=BASE, method="GET", fallback_url="https://spare.example/", fallback_method="POST")
    assert runs.tell(to.Instructed(given)) == [
        to.Fetch(1, to.DocumentRequest(BASE, "GET"), to.DocumentRequest("https://spare.example/", "POST"))
    ]
    as_said = to.Fetch(1, to.DocumentRequest(BASE, "GET"), to.DocumentRequest("https://spare.example/", "GET"))
    assert Runs().tell(to.Instructed(replace(given, fallback_method=None))) == [as_said], "as for the first"
    assert runs.arrives("<Say>Hello</Say><Pause/>") == [to.PlaySound(2, verbs.Say("Hello"), 1)]
    assert runs.plays() == [to.StartTimer(3, 1)]
    assert not runs.interpreter.over
    assert runs.ticks() == [to.FinishDocument()]
    assert runs.interpreter.over


def test_no_document_ends_the_call_and_says_why() -> None:
    runs = Runs()
    runs.tell(to.Instructed(Instructions(url=BASE)))
    assert runs.tell(to.FetchFailed(99, "late")) == []
    assert runs.tell(to.FetchFailed(1, "HTTP status 500")) == [
        to.Warn("no instructions: HTTP status 500"),
        to.HangUpCall("no instructions", "HTTP status 500"),
    ]
    _, ended = Runs().tell(to.Instructed(Instructions(texml="<oops")))
    assert isinstance(ended, to.HangUpCall)
    assert "not XML" in ended.detail


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
    assert ([effect for effect in runs.last if not isinstance(effect, to.Warn)] == [to.Answer()]) is answers
    if answers:
        assert runs.tell(to.CallAnswered()) == [
            effect for effect in Runs(verb, answered=True).last if not isinstance(effect, to.Warn)
        ]
    else:
        assert to.Answer() not in runs.last


def test_reject_refuses_a_call_that_rings_and_ends_one_that_does_not() -> None:
    assert Runs("<Reject/><Say>never</Say>", answered=False).last == [to.Reject(404, "Not Found")]
    assert Runs('<Reject reason="busy"/>', answered=False).last == [to.Reject(486, "Busy Here")]
    assert Runs("<Reject/>").last == [to.HangUpCall("the instructions reject the call")]
    assert Runs("<Hangup/><Say>never</Say>").last == [to.HangUpCall("the instructions hang up")]


def test_play_plays_files_relative_to_the_document_and_presses_keys() -> None:
    runs = Runs('<Play loop="0">../a.mp3</Play><Play digits="1w"/>')
    assert runs.last == [to.PlaySound(2, to.RemoteFile("https://app.example/a.mp3"), 0)]
    assert runs.plays() == [to.SendDigits("1w"), to.StartTimer(3, 0.7)]
    assert runs.ticks() == [to.FinishDocument()]
    assert seconds_of("0W#") == pytest.approx(1.4)


def test_what_cannot_be_played_is_told_and_skipped() -> None:
    runs = Runs("<Play>a.mp3</Play><Play>http://[/</Play><Say>b</Say>", base=None)
    assert runs.kinds() == [to.Warn, to.Warn, to.PlaySound]
    assert isinstance(runs.last[0], to.Warn)
    assert "has no base" in runs.last[0].text
    assert runs.tell(to.SoundPlayed(1, "not this job")) == []
    job = 3
    assert runs.tell(to.SoundPlayed(job, "no voice")) == [
        to.Warn("nothing was played: no voice"),
        to.FinishDocument(),
    ]


def test_streams_of_start_go_on_and_stop_stops_them() -> None:
    runs = Runs(
        '<Start><Stream url="ws://a/" name="n" statusCallback="/cb"/></Start><Stop><Stream name="n"/></Stop><Pause/>'
    )
    params = StreamParams("ws://a/", name="n", status_callback="https://app.example/cb")
    assert runs.last == [to.StartStream(2, params), to.StopStreams("n"), to.StartTimer(3, 1)]
    assert runs.tell(to.StreamOver(2, None)) == []


@pytest.mark.parametrize("error", [None, "refused"])
def test_connect_waits_until_its_own_stream_ends(error: str | None) -> None:
    runs = Runs('<Start><Stream url="ws://a/"/></Start><Connect><Stream url="ws://b/"/></Connect><Say>next</Say>')
    assert runs.kinds() == [to.StartStream, to.StartStream]
    assert runs.tell(to.StreamOver(2, None)) == []
    assert runs.tell(to.StreamOver(3, error)) == [to.PlaySound(4, verbs.Say("next"), 1)]


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
    assert Runs(verbs, base=base).one(to.StartStream).params == StreamParams(url)


@pytest.mark.parametrize("parent", ["Start", "Connect"])
def test_a_streams_url_without_a_base_is_told_and_skipped(parent: str) -> None:
    runs = Runs(f'<{parent}><Stream url="/media"/></{parent}><Say>next</Say>', base=None)
    assert runs.last == [to.Warn("/media is no http URL and has no base"), to.PlaySound(1, verbs.Say("next"), 1)]


# ── Gather ──────────────────────────────────────────────────────────────────────────────────────────────────

MENU = '<Gather action="menu" numDigits="3" timeout="7"><Say>a</Say><Pause length="2"/></Gather><Say>none</Say>'


def pressed(runs: Runs, keys: str) -> list[to.Effect]:
    for key in keys:
        runs.tell(to.KeyPressed(key))
    return runs.last


def test_gather_prompts_then_waits_then_goes_on_without_keys() -> None:
    runs = Runs(MENU)
    assert runs.last == [to.PlaySound(2, verbs.Say("a"), 1)]
    assert runs.plays() == [to.StartTimer(3, 2)]
    assert runs.ticks() == [to.StartTimer(4, 7)]
    assert runs.ticks() == [to.PlaySound(5, verbs.Say("none"), 1)]


def test_a_key_stops_the_prompt_and_each_key_begins_the_time_out_anew() -> None:
    runs = Runs(MENU)
    assert runs.tell(to.KeyPressed("1")) == [to.StopPlaying(2), to.StartTimer(3, 7)]
    assert runs.tell(to.SoundPlayed(2, None)) == []
    assert runs.tell(to.KeyPressed("2")) == [to.StartTimer(4, 7)]
    assert runs.tell(to.TimerExpired(3)) == []
    request = to.DocumentRequest("https://app.example/voice/menu", "POST", (("Digits", "12"), ("FinishedOnKey", "")))
    assert runs.tell(to.TimerExpired(4)) == [to.Fetch(5, request)]


def test_gather_ends_by_number_of_digits_by_finish_key_and_hears_valid_digits_only() -> None:
    request = pressed(Runs(MENU), "123")[-1]
    assert isinstance(request, to.Fetch)
    assert dict(request.request.parameters) == {"Digits": "123", "FinishedOnKey": ""}
    request = pressed(Runs(MENU), "12#")[-1]
    assert isinstance(request, to.Fetch)
    assert dict(request.request.parameters) == {"Digits": "12", "FinishedOnKey": "#"}
    assert pressed(Runs('<Gather action="/a" validDigits="12" finishOnKey=""/>'), "345#") == []
    assert pressed(Runs(MENU), "#")[-1] == to.PlaySound(3, verbs.Say("none"), 1)


def test_the_answer_of_an_action_replaces_the_document_and_is_the_new_base() -> None:
    runs = Runs(MENU)
    pressed(runs, "123")
    assert runs.arrives("<Redirect>b</Redirect>", "https://other.example/c/d") == [
        to.Fetch(6, to.DocumentRequest("https://other.example/c/b", "POST"))
    ]


def test_gather_without_an_action_goes_on() -> None:
    assert pressed(Runs('<Gather numDigits="1"/><Say>a</Say>'), "1") == [to.PlaySound(3, verbs.Say("a"), 1)]


# ── Dial ────────────────────────────────────────────────────────────────────────────────────────────────────

TWO = '<Dial action="/done" timeout="9" callerId="+1555"><Number>1</Number><Sip>sip:a@b</Sip></Dial>'


def status(runs: Runs) -> dict[str, str]:
    return dict(runs.one(to.Fetch).request.parameters)


def test_the_first_to_answer_wins_and_its_end_is_told_to_the_action() -> None:
    runs = Runs(TWO)
    one, other, ringback = runs.last
    assert one == to.PlaceLeg(2, verbs.DialTarget("number", "1"), "+1555", "", 9, 14400)
    assert isinstance(other, to.PlaceLeg)
    assert ringback == to.PlaySound(4, to.Tone("ringback"), 0)
    assert runs.tell(to.LegProgressed(2)) == []
    assert runs.tell(to.LegAnswered(3)) == [to.EndLeg(2, "elsewhere"), to.StopPlaying(4), to.BridgeLeg(3)]
    assert runs.tell(to.LegAnswered(2)) == []
    assert runs.tell(to.LegOver(2, "v3:one", "canceled", 0)) == []
    assert runs.tell(to.KeyPressed("*")) == []
    runs.tell(to.LegOver(3, "v3:other", "completed", 17))
    assert status(runs) == {"DialCallStatus": "completed", "DialCallSid": "v3:other", "DialCallDuration": "17"}


@pytest.mark.parametrize(
    ("statuses", "told"),
    [(("busy", "no-answer"), "busy"), (("failed", "no-answer"), "no-answer"), (("failed", "failed"), "failed")],
)
def test_when_nobody_answers_the_action_is_told_why(statuses: tuple[Any, Any], told: str) -> None:
    runs = Runs(TWO)
    runs.tell(to.LegOver(2, "v3:one", statuses[0], 0))
    runs.tell(to.LegOver(3, "v3:two", statuses[1], 0))
    assert to.StopPlaying(4) in runs.last
    assert status(runs)["DialCallStatus"] == told


def test_early_media_of_the_only_leg_is_heard_and_bridged_once() -> None:
    runs = Runs("<Dial>1</Dial><Say>after</Say>")
    assert runs.tell(to.LegProgressed(2)) == [to.StopPlaying(3), to.BridgeLeg(2)]
    assert runs.tell(to.LegAnswered(2)) == []
    assert runs.tell(to.LegOver(2, "v3:one", "completed", 3)) == [to.PlaySound(4, verbs.Say("after"), 1)]


def test_answer_on_bridge_leaves_the_call_ringing_until_somebody_answers() -> None:
    runs = Runs('<Dial answerOnBridge="true">1</Dial>', answered=False)
    assert runs.kinds() == [to.PlaceLeg]
    assert runs.tell(to.LegProgressed(2)) == []
    assert runs.tell(to.LegAnswered(2)) == [to.Answer()]
    assert runs.tell(to.CallAnswered()) == [to.BridgeLeg(2)]
    nobody = Runs('<Dial answerOnBridge="true">1</Dial>', answered=False)
    assert nobody.tell(to.LegOver(2, "", "failed", 0)) == [to.FinishDocument()]


def test_hangup_on_star_ends_the_second_call_only() -> None:
    runs = Runs('<Dial hangupOnStar="true">1</Dial><Say>after</Say>')
    assert runs.tell(to.KeyPressed("*")) == []
    runs.tell(to.LegAnswered(2))
    assert runs.tell(to.KeyPressed("*")) == [to.EndLeg(2, "star")]
    assert runs.tell(to.LegOver(2, "v3:one", "completed", 3)) == [to.PlaySound(4, verbs.Say("after"), 1)]


def test_the_end_of_the_call_ends_those_that_it_dialled() -> None:
    runs = Runs(TWO)
    assert runs.tell(to.CallFinished()) == [to.EndLeg(2, "ended"), to.EndLeg(3, "ended")]
    assert runs.interpreter.over
    assert runs.tell(to.LegAnswered(2)) == []


# ── Record ──────────────────────────────────────────────────────────────────────────────────────────────────

RECORD = '<Record action="/r" maxLength="30" finishOnKey="#" recordingStatusCallback="/rc"/>'


def recorded(job: int, reason: Any, digit: str = "", error: str | None = None) -> to.RecordingDone:
    return to.RecordingDone(job, "RE1", "file.wav", 2.7, reason, digit, error)


def test_record_beeps_records_and_requests_its_action() -> None:
    runs = Runs(RECORD)
    assert runs.last == [to.PlaySound(2, to.Tone("beep"))]
    assert runs.plays() == [to.Record(3, 2, 30, 0, "#")]
    runs.tell(recorded(3, "key", "#"))
    assert dict(runs.one(to.Fetch).request.parameters) == {
        "RecordingUrl": "file.wav", "RecordingSid": "RE1", "RecordingDuration": "2", "Digits": "#",
    }  # fmt: skip
    assert dict(runs.one(to.Notify).request.parameters)["RecordingStatus"] == "completed"


@pytest.mark.parametrize("told_first", [True, False])
def test_a_voice_mail_that_ends_with_the_call_is_told_to_the_action(told_first: bool) -> None:
    runs = Runs(RECORD)
    runs.plays()
    if told_first:
        assert runs.tell(to.CallFinished()) == []
        assert not runs.interpreter.over
    runs.tell(recorded(3, "hangup"))
    assert runs.kinds() == [to.Notify, to.Notify]
    if not told_first:
        assert runs.tell(to.CallFinished()) == []
    assert runs.interpreter.over


def test_a_recording_that_fails_is_told_and_the_next_verb_runs() -> None:
    runs = Runs('<Record playBeep="false"/><Say>a</Say>')
    assert runs.tell(recorded(2, "error", error="disk full")) == [
        to.Warn("nothing was recorded: disk full"),
        to.PlaySound(3, verbs.Say("a"), 1),
    ]


# ── from the API ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("running", "stopped"),
    [
        ("<Say>a</Say>", [to.StopPlaying(2)]),
        ("<Gather><Say>a</Say></Gather>", [to.StopPlaying(2)]),
        ('<Connect><Stream url="ws://a/"/></Connect>', [to.StopStream(2)]),
        ('<Start><Stream url="ws://a/"/></Start><Pause/>', [to.StopPlaying(3)]),
        ("<Dial>1</Dial>", [to.StopPlaying(3), to.EndLeg(2, "redirected")]),
        ('<Record playBeep="false"/>', [to.StopRecording(2)]),
        ("<Record/>", [to.StopPlaying(2)]),
        ("<Redirect>/slow</Redirect>", []),
    ],
)
def test_new_instructions_replace_what_runs(running: str, stopped: list[to.Effect]) -> None:
    runs = Runs(running)
    done = runs.tell(to.Instructed(texml("<Hangup/>")))
    assert done == [*stopped, to.HangUpCall("the instructions hang up")]
    assert runs.tell(to.Instructed(texml("<Say>too late</Say>"))) == []


# ── whatever happens ────────────────────────────────────────────────────────────────────────────────────────


def test_instructions_that_never_take_time_are_ended() -> None:
    runs = Runs("<Redirect>/again</Redirect>")
    for _ in range(LIMIT):
        if not runs.last or isinstance(runs.last[-1], to.HangUpCall | to.FinishDocument):
            break
        runs.arrives("<Redirect>/again</Redirect>")
    why = f"the instructions went on for {LIMIT} steps without anything that takes time"
    assert runs.last == [to.Warn(why), to.HangUpCall(why)]
    waiting = Runs("<Pause/><Redirect>/again</Redirect>")
    for _ in range(2 * LIMIT):
        waiting.ticks()
        waiting.arrives("<Pause/><Redirect>/again</Redirect>")
    assert waiting.kinds() == [to.StartTimer]


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
FACTS: st.SearchStrategy[to.Fact] = st.one_of(
    TEXTS.map(lambda text: to.Instructed(texml(text))),
    st.just(to.Instructed(Instructions(url=BASE))),
    st.builds(lambda job, text: to.Fetched(job, parse(f"<Response>{text}</Response>"), BASE), JOBS, TEXTS),
    st.builds(to.FetchFailed, JOBS, st.just("no")),
    st.just(to.CallAnswered()),
    st.builds(to.KeyPressed, st.sampled_from("12*#")),
    st.builds(to.TimerExpired, JOBS),
    st.builds(to.SoundPlayed, JOBS, st.none() | st.just("no")),
    st.builds(to.StreamOver, JOBS, st.none() | st.just("no")),
    st.builds(recorded, JOBS, st.sampled_from(["key", "hangup", "error"])),
    st.builds(to.LegProgressed, JOBS),
    st.builds(to.LegAnswered, JOBS),
    st.builds(to.LegOver, JOBS, st.just("v3:x"), st.sampled_from(["completed", "busy", "failed"]), st.just(1)),
)


@given(TEXTS, st.booleans(), st.lists(FACTS, max_size=25))
@settings(max_examples=300, deadline=None)
def test_any_facts_in_any_order_leave_it_sound_and_the_calls_end_ends_it(
    text: str, answered: bool, facts: list[to.Fact]
) -> None:
    runs = Runs(answered=answered)
    placed: set[int] = set()
    ended: set[int] = set()
    for fact in (to.Instructed(texml(text)), *facts, to.CallFinished()):
        over = runs.interpreter.over
        for effect in runs.tell(fact):
            assert not over
            if isinstance(effect, to.PlaceLeg):
                placed.add(effect.leg)
            elif isinstance(effect, to.EndLeg):
                ended.add(effect.leg)
        if isinstance(fact, to.LegOver):
            ended.add(fact.leg)
    if not runs.interpreter.over:  # a recording whose file is still to come
        for job in range(60):
            assert set(map(type, runs.tell(recorded(job, "hangup")))) <= {to.Notify, to.Warn}
    assert runs.interpreter.over
    assert placed <= ended
