"""Documents on real calls of the model, by hand: what `TexmlRunner` asks of calls, and how it handles their facts.
Facts of signalling and media come from the test; the application and the voice are real."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
import structlog
from structlog.testing import capture_logs

from trunkline.calls import commands, effects, events
from trunkline.calls.call import Call, CallRules, CallState
from trunkline.calls.commands import CallRequest, Command, Instructions, RecordingCallback, Route
from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.registry import InviteInfo, LiveCall
from trunkline.calls.views import CallView
from trunkline.config import Settings, StoreSettings, TexmlSettings
from trunkline.demo.watch import Watch
from trunkline.errors import StartupError, Unavailable
from trunkline.faces.telnyx.face import TELNYX
from trunkline.ids import AccountSid, CallSessionId, CallSid, IdsOfLife, LegId, new_life
from trunkline.media.report import LegReport
from trunkline.outbound.dialler import Dialler
from trunkline.sdp.session import parse
from trunkline.sdp.values import Endpoint
from trunkline.texml.cache import FileCache
from trunkline.texml.fetch import Fetcher
from trunkline.texml.runner import TexmlRunner, Tools
from trunkline.texml.sounds import Sounds
from trunkline.texml.voice import SpeechError
from trunkline.webhooks.signing import Signer
from trunkline.workers import orders, reports
from webapp import Answer, WebApp, texml

NOW = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
IDS = IdsOfLife(TELNYX.ids, new_life(bytes(5)))
SDP = parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n")
OPENED = reports.LegOpened(Endpoint("127.0.0.1", 20000))
Some = TypeVar("Some")
NO_ROUTE = "the dial_prefixes of trunk carrier do not allow it"


class Whisper:
    """A voice that says one thing, or nothing."""

    async def speak(self, account: str, text: str, voice: str, language: str) -> Path:
        if text == "nothing":
            raise SpeechError("no voice today")
        return Path(f"/speech/{text}")


@dataclass
class Stage:
    """The runner's part: applies to the model, and informs the runner. No effect is performed."""

    runner: TexmlRunner = field(init=False)
    asked: list[tuple[LiveCall, Command]] = field(default_factory=list)
    placed: list[tuple[CallRequest, LiveCall]] = field(default_factory=list)
    notices: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """URL, method, parameters."""
    recorded: list[tuple[str, RecordingCallback]] = field(default_factory=list)
    """Sources and callbacks of recordings."""
    full: bool = False
    watch: Watch = field(default_factory=Watch)
    now: datetime = NOW
    numbers: Any = field(default_factory=count)

    def apply(self, entry: LiveCall, what: Command) -> None:
        self.asked.append((entry, what))
        self.feed(entry, what)
        self.watch.changed()

    def feed(self, entry: LiveCall, *happened: events.Fact | Command) -> None:
        for what in happened:
            out = entry.call.handle(what, self.now)
            self.runner.on_applied(entry, what)
            # The store takes each record at once.
            recorded = [one.then for one in out if isinstance(one, effects.Persist) and one.then is not None]
            self.feed(entry, *recorded)
            if isinstance(what, events.Accepted) and entry.instructions is not None:
                self.runner.start(entry, entry.instructions)

    def place(
        self, account: AccountSid, request: CallRequest, route: Route, parent: LiveCall | None = None
    ) -> tuple[LiveCall, asyncio.Future[None]]:
        if self.full:
            raise Unavailable("The server is draining: it takes no new calls.", retry_after=5)
        entry = self.entry("outbound", request.instructions)
        self.placed.append((request, entry))
        self.feed(entry, request.place(route), OPENED)
        return entry, asyncio.get_running_loop().create_future()

    def record(
        self,
        entry: LiveCall,
        job: int,
        options: orders.RecordingOptions,
        source: str,
        callback: RecordingCallback,
    ) -> str:
        self.recorded.append((source, callback))
        sid = IDS.recording(bytes((job,)) * 16)
        self.apply(entry, orders.StartRecording(job, f"/recordings/acc.{sid}.wav", options))
        return sid

    def notify(self, entry: LiveCall, url: str, method: str, form: Sequence[tuple[str, str]]) -> None:
        assert dict(form)["CallSid"] == entry.call.view.sid
        self.notices.append((url, method, dict(form)))

    def entry(self, direction: Any = "inbound", instructions: Instructions | None = None) -> LiveCall:
        number = next(self.numbers)
        view = CallView(
            sid=CallSid(f"v3:{number}"),
            account_sid=AccountSid("acc"),
            session_id=CallSessionId("c"),
            direction=direction,
            from_="+1555",
            to="+1666",
            caller_name="Ann",
            status="ringing" if direction == "inbound" else "queued",
            created_at=self.now,
            updated_at=self.now,
            application_sid="7",
        )
        origin = InviteInfo("sip:+1555@a", "sip:+1666@b", (("X-Ref", "1"), ("Diversion", "d"), ("x-low", "2")))
        call = Call(view, CallRules(), sdp_session=1, random=Random(1).randbytes)
        return LiveCall(call, number, LegId(number), origin, instructions, None, lambda: self.now)

    def rings(self, texml_text: str | None = None, url: str = "") -> LiveCall:
        entry = self.entry()
        self.feed(entry, events.Invited(SDP, answer=False), OPENED)
        text = None if texml_text is None else f"<Response>{texml_text}</Response>"
        self.runner.start(entry, Instructions(texml=text, url=url or None))
        return entry

    def redirect(self, entry: LiveCall, verbs: str) -> None:
        self.runner.redirect(entry, Instructions(texml=f"<Response>{verbs}</Response>"))

    def commands(self, entry: LiveCall) -> list[Command]:
        return [what for call, what in self.asked if call is entry]

    async def gets(self, entry: LiveCall, kind: type[Some], number: int = 1) -> Some:
        """The first command of a kind that a call gets, or the second, …, when it is there."""

        def found() -> list[Some]:
            return [what for what in self.commands(entry) if isinstance(what, kind)]

        assert await self.watch.until(lambda: len(found()) >= number, 30), self.commands(entry)
        return found()[number - 1]

    async def ends(self, entry: LiveCall) -> str | None:
        """Why the call ended, once it has."""
        assert await self.watch.until(lambda: entry.call.state is CallState.ENDED, 30), self.commands(entry)
        return entry.call.view.hangup_cause


@pytest.fixture
async def stage(
    web: WebApp, signer: Signer, cache: FileCache, tmp_path: Path, dialler: Dialler
) -> AsyncIterator[Stage]:
    settings, stage = TexmlSettings(), Stage()
    fetcher, sounds = Fetcher(settings, signer, dialler, TELNYX.document), Sounds(settings, cache, tmp_path, dialler)
    recordings = RecordingFiles(tmp_path, lambda: "http://us")
    tools = Tools(fetcher, Whisper(), sounds, recordings, settings.step_limit, ("PCMU", "PCMA"), IDS, TELNYX.document)
    routes = {"+1777": Route("trunk", "carrier", "+1777"), "sip:b@h": Route("uri", "", "sip:b@h")}
    stage.runner = TexmlRunner(stage, lambda to: routes.get(to, NO_ROUTE), tools)
    yield stage
    await stage.runner.stop()
    assert not any(task.get_name().startswith("texml") for task in asyncio.all_tasks())


async def test_a_ringing_call_is_answered_played_to_and_ended(stage: Stage) -> None:
    entry = stage.rings("<Say>hello</Say>")
    assert stage.commands(entry) == [commands.AnswerCall()]
    play = await stage.gets(entry, orders.StartPlayback)
    assert (play.path, play.loop) == ("/speech/hello", 1)
    stage.feed(entry, events.Confirmed(None), reports.PlaybackEnded(play.job, None))
    assert await stage.ends(entry) == "the instructions ended"


async def test_the_fetch_has_all_fields_of_the_call(stage: Stage, web: WebApp) -> None:
    web.answers["/v"] = texml('<Reject reason="busy"/>')
    entry = stage.rings(url=web.url + "/v")
    await stage.gets(entry, commands.RejectCall)
    assert web.received[0].fields == {
        "AccountSid": "acc", "CallSid": "v3:0", "CallSidLegacy": "v3:0", "CallStatus": "ringing", "CallerId": "Ann",
        "From": "+1555", "To": "+1666", "FromSipUri": "sip:+1555@a", "ToSipUri": "sip:+1666@b", "Direction": "inbound",
        "ConnectionId": "7", "SipHeader_X-Ref": "1", "SipHeader_x-low": "2",
    }  # fmt: skip
    assert entry.call.view.status == "busy"


async def test_a_cross_origin_document_is_a_warning_in_the_log_and_a_note(stage: Stage, web: WebApp) -> None:
    async with WebApp() as other:
        web.answers["/v"] = Answer(status=302, headers={"Location": other.url + "/v"})
        other.answers["/v"] = texml("<Pause/>")
        with structlog.testing.capture_logs() as logs:
            entry = stage.rings(url=web.url + "/v")
            await stage.gets(entry, commands.Note)
    (line,) = [line for line in logs if "without our signature" in line.get("reason", "")]
    assert (line["log_level"], line["call_sid"]) == ("warning", entry.call.view.sid)
    assert entry.call.view.notes == (line["reason"],)
    stage.feed(entry, events.PeerEnded("bye", ""), reports.LegClosed(LegReport(frames_in=3)))
    assert entry.call.view.notes == (line["reason"],)
    assert entry.call.view.report == LegReport(frames_in=3)


async def test_a_document_that_cannot_be_had_ends_the_call_with_the_reason(stage: Stage, web: WebApp) -> None:
    entry = stage.rings(url=web.url + "/none")
    cause = await stage.ends(entry)
    assert cause is not None
    assert "HTTP status 404" in cause


async def test_a_caller_that_gives_up_during_the_fetch_leaves_nothing_behind(stage: Stage, web: WebApp) -> None:
    web.answers["/slow"] = None
    entry = stage.rings(url=web.url + "/slow")
    await web.watch.until(lambda: bool(web.received), 5)
    stage.feed(entry, events.PeerEnded("cancel", ""))
    assert stage.commands(entry) == []


async def test_connect_waits_for_its_stream_and_stop_stops_by_name(stage: Stage) -> None:
    entry = stage.rings(
        '<Start><Stream url="ws://a/" name="tap"/></Start><Connect><Stream url="ws://b/"/></Connect>'
        '<Stop><Stream name="tap"/></Stop><Pause/>'
    )
    tap, own = (what for what in stage.commands(entry) if isinstance(what, commands.StartStream))
    assert (tap.params.url.text, own.params.url.text) == ("ws://a/", "ws://b/")
    stage.feed(entry, reports.StreamStarted(own.sid))
    assert commands.StopStream(tap.sid) not in stage.commands(entry)
    stage.feed(entry, reports.StreamEnded(own.sid, None, "the app closed", None))
    assert commands.StopStream(tap.sid) in stage.commands(entry)


async def test_a_stream_that_is_refused_lets_the_next_verb_run(stage: Stage) -> None:
    streams = '<Start><Stream url="ws://a/"/></Start>' * 5
    entry = stage.rings(streams + '<Connect><Stream url="ws://b/"/></Connect>')
    assert await stage.ends(entry) == "the instructions ended"


async def test_keys_are_gathered_and_sent_to_the_action(stage: Stage, web: WebApp) -> None:
    web.answers["/menu"] = texml("<Hangup/>")
    entry = stage.rings(f'<Gather action="{web.url}/menu" numDigits="2"><Say>hi</Say></Gather>')
    play = await stage.gets(entry, orders.StartPlayback)
    stage.feed(entry, reports.DigitHeard("4"))
    assert stage.commands(entry)[-1] == orders.StopPlayback(play.job)
    stage.feed(entry, events.DigitReceived("2"))  # by INFO: media, which receives it, reports it once
    stage.feed(entry, reports.DigitHeard("2"))
    await stage.ends(entry)
    assert web.received[0].fields["Digits"] == "42"
    assert web.received[0].fields["CallStatus"] == "in-progress"


async def test_what_cannot_be_synthesized_or_downloaded_is_skipped(stage: Stage, web: WebApp) -> None:
    entry = stage.rings(f"<Say>nothing</Say><Play>{web.url}/none.mp3</Play>")
    assert await stage.ends(entry) == "the instructions ended"
    assert not any(isinstance(what, orders.StartPlayback) for what in stage.commands(entry))
    assert stage.runner.counters["note"] == 2


async def test_a_redirect_in_the_middle_of_a_download_forgets_it(stage: Stage, web: WebApp) -> None:
    web.answers["/slow.mp3"] = None
    entry = stage.rings(f"<Play>{web.url}/slow.mp3</Play>")
    await web.watch.until(lambda: bool(web.received), 5)
    stage.redirect(entry, "<Say>other</Say>")
    assert (await stage.gets(entry, orders.StartPlayback)).path == "/speech/other"
    assert not any(isinstance(what, orders.StopPlayback) for what in stage.commands(entry))


async def test_dial_bridges_the_first_to_answer_and_reports_its_end(stage: Stage, web: WebApp) -> None:
    web.answers["/done"] = texml("<Hangup/>")
    entry = stage.rings(
        f'<Dial action="{web.url}/done" timeout="9"><Number>+1777</Number>'
        '<Sip username="u" password="p">sip:b@h?X-A=1</Sip></Dial>'
    )
    ringback = await stage.gets(entry, orders.StartPlayback)
    assert ringback.path.endswith("ringback.wav")
    (request, one), (other_request, other) = stage.placed
    assert (request.from_, request.caller_name, request.timeout) == ("+1555", "Ann", 9)
    assert request.codecs == ("PCMA", "PCMU")
    assert (other_request.headers, other_request.username) == ((("X-A", "1"),), "u")
    stage.feed(other, events.Progressed(180, None), events.Accepted(SDP))
    assert stage.commands(one) == [commands.EndCall("another party answered")]
    assert one.call.view.status == "canceled"
    assert stage.commands(entry)[-2:] == [orders.StopPlayback(ringback.job), orders.Bridge(other.call.view.sid)]
    stage.now += timedelta(seconds=7.9)
    stage.feed(other, events.PeerEnded("bye", ""))
    await stage.ends(entry)
    fields = web.received[0].fields
    assert (fields["DialCallStatus"], fields["DialCallSid"], fields["DialCallDuration"]) == ("completed", "v3:2", "7")


@pytest.mark.parametrize(("status", "expected"), [(486, "busy"), (480, "no-answer"), (503, "failed")])
async def test_a_refusal_of_a_dialled_party_is_its_dial_call_status(
    stage: Stage, web: WebApp, status: int, expected: str
) -> None:
    web.answers["/done"] = texml("<Hangup/>")
    entry = stage.rings(f'<Dial action="{web.url}/done" answerOnBridge="true">+1777</Dial>')
    stage.feed(stage.placed[0][1], events.Refused(status, "No", ""))
    await stage.ends(entry)
    assert web.received[0].fields["DialCallStatus"] == expected
    assert web.received[0].fields["CallStatus"] == "ringing"


async def test_a_call_is_answered_in_the_codec_of_the_dialled_party(stage: Stage) -> None:
    entry = stage.entry()
    offer = parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 0 8\r\n")
    stage.feed(entry, events.Invited(offer, answer=False), OPENED)
    stage.runner.start(
        entry,
        Instructions(
            texml='<Response><Dial answerOnBridge="true"><Number>+1777</Number><Number>+1777</Number></Dial></Response>'
        ),
    )
    (request, _), (_, child) = stage.placed
    assert (entry.call.view.codec, request.codecs) == ("PCMU", ("PCMU", "PCMA"))
    stage.feed(child, events.Accepted(SDP))
    assert commands.AnswerCall("PCMA") in stage.commands(entry)
    assert entry.call.view.codec == "PCMA"


async def test_early_media_is_heard_and_the_callers_end_ends_the_dialled_call(stage: Stage) -> None:
    entry = stage.rings("<Dial>+1777</Dial>")
    child = stage.placed[0][1]
    stage.feed(child, events.Progressed(183, SDP))
    assert stage.commands(entry)[-1] == orders.Bridge(child.call.view.sid)
    stage.feed(entry, events.PeerEnded("bye", ""))
    assert child.call.state is CallState.ENDED


async def test_a_stream_that_cannot_be_captured_runs_and_is_warned_of(stage: Stage) -> None:
    with capture_logs() as logs:
        entry = stage.rings('<Connect><Stream url="ws://bot/" capture="true"/></Connect>')
        stage.feed(entry, events.Confirmed(None))
    [warning] = [line["reason"] for line in logs if line["event"] == "texml_warning"]
    assert "streams.capture" in warning
    assert commands.Note(warning) in stage.commands(entry)
    assert any(isinstance(command, commands.StartStream) for command in stage.commands(entry))


async def test_a_dial_that_cannot_be_placed_fails_and_the_next_verb_runs(stage: Stage) -> None:
    with capture_logs() as logs:
        entry = stage.rings("<Dial>+1000</Dial><Say>sorry</Say>")
    assert [line["reason"] for line in logs if line["event"] == "dial_failed"] == [NO_ROUTE]
    assert commands.Note(f"<Dial> failed: {NO_ROUTE}") in stage.commands(entry)
    assert (await stage.gets(entry, orders.StartPlayback)).path == "/speech/sorry"
    stage.full = True
    stage.redirect(entry, "<Dial>+1777</Dial><Say>later</Say>")
    assert (await stage.gets(entry, orders.StartPlayback, 2)).path == "/speech/later"


WHISPER = '<Dial action="{0}/done"><Number url="{0}/whisper" method="GET">+1777</Number></Dial>'


async def test_a_dialled_party_does_what_its_own_document_says_and_is_connected_then(stage: Stage, web: WebApp) -> None:
    web.answers |= {"/whisper": texml("<Say>for you</Say>"), "/done": texml("<Hangup/>")}
    entry = stage.rings(WHISPER.format(web.url))
    ringback, child = await stage.gets(entry, orders.StartPlayback), stage.placed[0][1]
    stage.feed(child, events.Progressed(183, SDP), events.Accepted(SDP))
    whisper = await stage.gets(child, orders.StartPlayback)
    assert whisper.path == "/speech/for you"
    assert orders.StopPlayback(ringback.job) not in stage.commands(entry), "who dialled hears it ring"
    stage.feed(child, reports.PlaybackEnded(whisper.job, None))
    assert stage.commands(entry)[-2:] == [orders.StopPlayback(ringback.job), orders.Bridge(child.call.view.sid)]
    assert child.call.state is not CallState.ENDED
    (fetch,) = web.asked("/whisper")
    assert (fetch.method, fetch.fields["CallSid"]) == ("GET", child.call.view.sid)
    stage.feed(child, events.PeerEnded("bye", ""))
    await stage.ends(entry)
    assert web.asked("/done")[0].fields["DialCallStatus"] == "completed"


@pytest.mark.parametrize("whisper", ["<Hangup/>", "<Reject/>", "oops"])
async def test_a_dialled_party_that_is_not_connected_did_not_answer(stage: Stage, web: WebApp, whisper: str) -> None:
    web.answers |= {"/whisper": texml(whisper) if whisper != "oops" else Answer(status=500)}
    entry = stage.rings(WHISPER.format(web.url))
    web.answers["/done"] = texml("<Hangup/>")
    child = stage.placed[0][1]
    stage.feed(child, events.Accepted(SDP))
    await stage.ends(child)
    await stage.ends(entry)
    assert web.asked("/done")[0].fields["DialCallStatus"] == "no-answer"


async def test_a_caller_that_leaves_ends_a_party_that_runs_its_own_document(stage: Stage, web: WebApp) -> None:
    web.answers["/whisper"] = texml("<Pause/>")
    entry = stage.rings(WHISPER.format(web.url))
    child = stage.placed[0][1]
    stage.feed(child, events.Accepted(SDP))
    await web.watch.until(lambda: bool(web.received), 5)
    stage.feed(entry, events.PeerEnded("bye", ""))
    assert child.call.state is CallState.ENDED


async def test_new_instructions_for_a_party_that_runs_its_own_end_the_dial(stage: Stage, web: WebApp) -> None:
    web.answers |= {"/whisper": texml("<Say>a</Say>"), "/done": texml("<Say>gone</Say>")}
    entry = stage.rings(WHISPER.format(web.url))
    child = stage.placed[0][1]
    stage.feed(child, events.Accepted(SDP))
    await stage.gets(child, orders.StartPlayback)
    stage.redirect(child, "<Say>hi</Say>")
    again = await stage.gets(child, orders.StartPlayback, 2)
    assert (await stage.gets(entry, orders.StartPlayback, 2)).path == "/speech/gone"
    stage.feed(child, reports.PlaybackEnded(again.job, None))
    assert await stage.ends(child) == "the instructions ended"


async def test_new_instructions_for_the_dialled_call_part_the_two(stage: Stage, web: WebApp) -> None:
    web.answers["/done"] = texml("<Say>gone</Say>")
    entry = stage.rings(f'<Dial action="{web.url}/done">+1777</Dial>')
    child = stage.placed[0][1]
    stage.feed(child, events.Accepted(SDP))
    stage.redirect(child, "<Say>hi</Say>")
    assert orders.Unbridge() in stage.commands(child)
    assert (await stage.gets(child, orders.StartPlayback)).path == "/speech/hi"
    assert (await stage.gets(entry, orders.StartPlayback)).path == "/speech/gone"
    assert web.received[0].fields["DialCallStatus"] == "completed"
    assert child.call.state is not CallState.ENDED


HANGUP = events.PeerEnded("bye", "")


@pytest.mark.parametrize("order", ["hangup closed recorded", "hangup recorded closed", "recorded hangup closed"])
async def test_a_voice_mail_is_sent_to_its_action_after_the_call(stage: Stage, order: str) -> None:
    entry = stage.rings('<Record action="http://a/r" method="GET" recordingStatusCallback="http://a/rc"/>')
    stage.feed(entry, reports.PlaybackEnded((await stage.gets(entry, orders.StartPlayback)).job, None))
    record = await stage.gets(entry, orders.StartRecording)
    assert record.options == orders.RecordingOptions(2, 3600, 0, "1234567890*#")
    ended = reports.RecordingEnded(record.job, 3.2, "hangup")
    happened: dict[str, events.Fact] = {"hangup": HANGUP, "recorded": ended, "closed": reports.LegClosed(LegReport())}
    stage.feed(entry, *(happened[word] for word in order.split()))
    [(action_url, action_method, action)] = stage.notices
    assert (action_url, action_method) == ("http://a/r", "GET")
    assert stage.recorded == [("RecordVerb", RecordingCallback("http://a/rc"))]
    sid = action["RecordingSid"]
    assert action["RecordingUrl"] == f"http://us/v2/texml/Accounts/acc/Recordings/{sid}.wav"
    assert sid in record.path
    other = stage.rings(f"<Play>{action['RecordingUrl']}</Play>")
    assert (await stage.gets(other, orders.StartPlayback)).path.endswith(f"acc.{sid}.wav")
    assert (action["RecordingDuration"], action["Digits"], action["From"]) == ("3", "hangup", "+1555")


@pytest.mark.parametrize("hung_up_first", [True, False])
async def test_a_recording_whose_worker_dies_is_warned_of_and_leaves_nothing_behind(
    stage: Stage, hung_up_first: bool
) -> None:
    entry = stage.rings('<Record playBeep="false" action="http://a/r"/>')
    record = await stage.gets(entry, orders.StartRecording)
    with capture_logs() as logs:
        stage.feed(entry, *([HANGUP] if hung_up_first else []), reports.WorkerLost("the media worker died"))
    assert [line["reason"] for line in logs] == ["nothing was recorded: the media worker died"]
    stage.feed(entry, reports.RecordingEnded(record.job, 3.2, "hangup"))
    assert stage.notices == []
    assert stage.runner._runs == {}


async def test_a_recording_cut_off_by_new_instructions_has_its_callback_and_no_action(stage: Stage) -> None:
    entry = stage.rings('<Record playBeep="false" action="http://a/r" recordingStatusCallback="http://a/rc"/>')
    record = await stage.gets(entry, orders.StartRecording)
    stage.redirect(entry, "<Pause/>")
    stage.feed(entry, HANGUP, reports.LegClosed(LegReport()), reports.RecordingEnded(record.job, 3.2, "stopped"))
    assert stage.notices == []
    assert stage.recorded == [("RecordVerb", RecordingCallback("http://a/rc"))]
    assert orders.StopRecording(record.job) in stage.commands(entry)
    assert stage.runner._runs == {}


async def test_late_reports_of_a_call_that_is_over_change_nothing(stage: Stage) -> None:
    entry = stage.rings("<Pause/>")
    stage.feed(entry, events.PeerEnded("bye", ""))
    stage.feed(entry, reports.LegClosed(LegReport()), reports.DigitHeard("1"), reports.PlaybackEnded(1, None))
    assert stage.commands(entry) == []


async def test_the_tools_are_as_the_settings_have_them(tmp_path: Path, signer: Signer, dialler: Dialler) -> None:
    def settings(**texml: Any) -> Settings:
        return Settings(store=StoreSettings(directory=tmp_path / "state"), texml=TexmlSettings(**texml))

    files = RecordingFiles(tmp_path, str)
    tools = Tools.of(settings(speaker="no-such-program"), signer, dialler, files, IDS, TELNYX.document)
    assert tools.step_limit == TexmlSettings().step_limit
    (tmp_path / "state" / "cache").rmdir()
    (tmp_path / "state" / "cache").touch()
    with pytest.raises(StartupError, match="cache"):
        Tools.of(settings(), signer, dialler, files, IDS, TELNYX.document)
    await TexmlRunner(Stage(), lambda _: NO_ROUTE, tools).stop()
