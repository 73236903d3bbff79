"""TeXML text: what it becomes, what costs a warning only, and what is refused."""

from typing import Literal

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.streaming.params import BidirectionalMode, TargetLegs, Track
from trunkline.texml.document import _VERBS, DocumentError, parse
from trunkline.texml.ssml import DEPTH_LIMIT, TEXT_LIMIT
from trunkline.texml.verbs import (
    Answer,
    Connect,
    Dial,
    DialTarget,
    Document,
    Gather,
    Hangup,
    Pause,
    Play,
    Record,
    Redirect,
    Reject,
    Say,
    Start,
    Stop,
    Verb,
)

SIZE_LIMIT = 65_536
TARGET_LIMIT = 10
WARNING_LIMIT = 20

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])


def response(text: str) -> Document:
    return parse(f"<Response>{text}</Response>")


# Documents as public samples have them, with made-up hosts.
SAMPLES: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    ("", ()),
    (
        '<Connect><Stream url="wss://example.com/ws" bidirectionalMode="rtp"/></Connect><Pause length="40"/>',
        (Connect(stream_params("wss://example.com/ws", mode=BidirectionalMode.RTP)), Pause(40)),
    ),
    (
        "<Say>Please wait while we connect you.</Say>"
        '<Connect><Stream url="wss://h/s"><Parameter name="caller" value="+1555"/></Stream></Connect>',
        (
            Say("Please wait while we connect you."),
            Connect(stream_params("wss://h/s", custom_parameters={"caller": "+1555"})),
        ),
    ),
    (
        '<Start><Stream url="wss://h/s" track="both_tracks" name="tap" codec="PCMA" enableReconnect="false"'
        ' capture="true" bidirectionalCodec="L16" bidirectionalSamplingRate="16000" bidirectionalTargetLegs="opposite"'
        ' statusCallback="/cb" statusCallbackMethod="GET"'
        "/></Start><Dial>+1 (312) 555-0100</Dial>",
        (
            Start(
                (
                    stream_params(
                        "wss://h/s",
                        track=Track.BOTH,
                        name="tap",
                        codec="PCMA",
                        bidirectional_codec="L16",
                        bidirectional_sampling_rate=16000,
                        target_legs=TargetLegs.OPPOSITE,
                        enable_reconnect=False,
                        capture=True,
                        status_callback="/cb",
                        status_callback_method="GET",
                    ),
                )
            ),
            Dial((DialTarget("number", "+13125550100"),)),
        ),
    ),
    ('<Stop><Stream name="tap"/></Stop><Stop><Stream/></Stop>', (Stop("tap"), Stop())),
    (
        '<Say voice="Polly.Joanna" language="en-GB" loop="2">Hello <break/>\n  <emphasis>you</emphasis></Say>',
        (Say('Hello <break/> <emphasis level="moderate"> you </emphasis>', "Polly.Joanna", "en-GB", 2),),
    ),
    (
        '<Play loop="0">https://example.com/a.mp3</Play><Play digits="1ww2#"/>',
        (Play("https://example.com/a.mp3", 0), Play(digits="1ww2#")),
    ),
    (
        '<Gather action="/menu" method="GET" input="dtmf" timeout="10" numDigits="1" finishOnKey="*" validDigits="123">'
        "<Say>Press 1</Say><Pause/><Play>a.wav</Play></Gather>",
        (Gather((Say("Press 1"), Pause(), Play("a.wav")), "/menu", "GET", 10, "*", 1, "123"),),
    ),
    (
        '<Dial action="/done" method="GET" timeout="20" timeLimit="60" callerId="+15550001" answerOnBridge="true"'
        ' hangupOnStar="true" fromDisplayName="Us"><Number sendDigits="ww1" url="/w" method="GET">+15550002</Number>'
        '<Sip username="u" password="p" statusCallback="/s" statusCallbackEvent="answered completed">'
        "sip:a@example.com;transport=tcp?X-Id=7&amp;Subject=no</Sip></Dial>",
        (
            Dial(
                (
                    DialTarget("number", "+15550002", send_digits="ww1", url="/w", method="GET"),
                    DialTarget(
                        "sip",
                        "sip:a@example.com;transport=tcp",
                        (("X-Id", "7"),),
                        "u",
                        "p",
                        status_callback="/s",
                        status_callback_events="answered completed",
                    ),
                ),
                "/done",
                "GET",
                20,
                60,
                "+15550001",
                "Us",
                True,
                True,
            ),
        ),
    ),
    (
        '<Record action="/r" maxLength="30" timeout="5" finishOnKey="#" playBeep="false" channels="single"/><Record/>',
        (Record("/r", "POST", 5, 30, "#", False, 1), Record()),
    ),
    ('<Redirect method="GET">/next</Redirect>', (Redirect("/next", "GET"),)),
    ('<Reject reason="busy"/><Reject/><Hangup/>', (Reject("busy"), Reject(), Hangup())),
)


def test_a_warning_has_the_documents_url_the_line_and_what_was_meant() -> None:
    text = """<?xml version="1.0"?>
<Response>
  <Conect>
  </Conect>
  <Start>
    <Stream url="ws://app/"
            urll="x" bidirectional-mode="rtp" a="b"/>
    <strem/>
  </Start>
  <Dial><Number digits="1">1</Number></Dial>
  <Say>Hello <lang>x</lang></Say>
  <Play/>
</Response>"""
    found = parse(text, "https://user:secret@app.example/texml?token=hidden")
    place = "https://app.example/texml?… line"
    assert found.warnings == (
        f"{place} 3: <Conect> is not known here and was skipped; did you mean <Connect>?",
        f"{place} 6: <Stream urll> is not known and was skipped; did you mean url?",
        f"{place} 6: <Stream bidirectional-mode> is not known and was skipped; did you mean bidirectionalMode?",
        f"{place} 6: <Stream a> is not known and was skipped",
        f"{place} 8: <strem> is not known here and was skipped; did you mean <Stream>?",
        f"{place} 10: <Number digits> is not known and was skipped; did you mean sendDigits?",
        f"{place} 11: <lang> in <Say> names no language; its text is read as it stands",
        f"{place} 12: <Play> must be a URL of at most 2000 characters, and was skipped",
    )
    assert parse("<Response>\n<x/></Response>").warnings == ("line 2: <x> is not known here and was skipped",)
    assert max(map(len, parse("<Response><x/></Response>", f"https://a/{'p' * 900}").warnings)) < 200


def test_a_long_name_is_cut_in_a_warning() -> None:
    for length, shown in ((40, "x" * 40), (41, "x" * 40 + "…")):
        assert (
            f"line 1: <{shown}> is not known here and was skipped"
            in parse(f"<Response><{'x' * length}/></Response>").warnings
        )


@pytest.mark.parametrize(("text", "verbs"), SAMPLES, ids=range(len(SAMPLES)))
def test_sample_documents_are_understood_without_a_warning(text: str, verbs: tuple[Verb, ...]) -> None:
    assert response(text) == Document(verbs)


@pytest.mark.parametrize(
    ("text", "verbs", "word"),
    [
        ("<Enqueue>q</Enqueue><Hangup/>", (Hangup(),), "Enqueue"),
        ('<Pause length="5" colour="red"/>', (Pause(5),), "colour"),
        ('<Pause length="600"/>', (Pause(180),), "180 was taken"),
        ('<Pause length="0"/>', (Pause(1),), "1 was taken"),
        ('<Pause length="1000000000"/>', (Pause(),), "1 to 180"),
        ('<Stream url="ws://a/"/>', (Connect(stream_params("ws://a/")),), "<Connect><Stream …/></Connect>"),
        ('<Stream url="ws://a/"/><Pause/>', (Start((stream_params("ws://a/"),)), Pause()), "outside of <Start>"),
        ('<StartStream url="ws://a/"/>', (Connect(stream_params("ws://a/")),), "<StartStream> outside of <Start>"),
        (
            '<StartStream destination="ws://a/" name="n"><StreamParam name="k" value="v"/></StartStream><Hangup/>',
            (Start((stream_params("ws://a/", name="n", custom_parameters={"k": "v"}),)), Hangup()),
            "<StartStream> outside of <Start>",
        ),
        ('<StartStream><Stream url="ws://a/"/></StartStream>', (Connect(stream_params("ws://a/")),), "<StartStream>"),
        ("<StartStream/>", (), "<StartStream> has no url"),
        ('<StopStream name="n"/>', (Stop("n"),), "<Stop><Stream …/></Stop>"),
        ("<StopStream/>", (Stop(),), "<Stop><Stream …/></Stop>"),
        ('<StopStream><Stream name="n"/></StopStream>', (Stop("n"),), "<Stop><Stream …/></Stop>"),
        ("<Answer/><Pause/>", (Answer(), Pause()), "<Answer> is not documented and not needed; the first verb"),
        ('<Pause length="²"/>', (Pause(),), "1 to 180"),
        ('<Dial timeout="soon">+15550001</Dial>', (Dial((DialTarget("number", "+15550001"),)),), "timeout"),
        ('<Dial><Conference>room</Conference></Dial>', (), "Conference"),
        ('<Dial><Number byoc="x">1</Number></Dial>', (Dial((DialTarget("number", "1"),)),), "byoc"),
        ("<Dial><Sip>mailto:a@b</Sip></Dial>", (), "must hold a sip: URI"),
        ("<Dial>no such</Dial>", (Dial((DialTarget("number", "nosuch"),)),), ""),
        ("<Dial>(312) 555.0100</Dial>", (Dial((DialTarget("number", "3125550100"),)),), ""),
        ("<Dial><Number>bot-1.test</Number></Dial>", (Dial((DialTarget("number", "bot-1.test"),)),), ""),
        ("<Dial>+1/2</Dial>", (), "number"),
        ("<Say/>", (), "no text"),
        ("<Play/>", (), "URL"),
        ("<Play>not a url</Play>", (), "URL"),
        ('<Play digits="12x"/>', (), "URL"),
        ('<Gather input="dtmf speech"/>', (Gather(),), "<Gather> hears keys only, no speech"),
        ('<Gather finishOnKey="ab"/>', (Gather(),), "finishOnKey"),
        ("<Gather><Hangup/></Gather>", (Gather(),), "Hangup"),
        ("<Start/>", (), "Stream"),
        (
            '<Connect><Stream url="ws://a/"/><Stream url="ws://b/"/></Connect>',
            (Connect(stream_params("ws://a/")),),
            "<Connect> has more than one <Stream>; the first was taken",
        ),
        ("<Dial><Number/></Dial>", (), "names no callee"),
        (
            '<Dial><Number sendDigits="x">1</Number></Dial>',
            (Dial((DialTarget("number", "1"),)),),
            "must be keys, and w for waits",
        ),
        ('<Connect><Stream url="https://h/"/></Connect>', (), "ws://"),
        ('<Connect><Stream url="wss://h/#f"/></Connect>', (), "ws://"),
        (
            '<Connect><Stream url="ws://a/" track="sideways"/><Stream url="ws://b/"/></Connect>',
            (Connect(stream_params("ws://a/")),),
            "inbound_track, outbound_track, both_tracks",
        ),
        ('<Start><Stream url="ws://a/"><Parameter value="x"/></Stream></Start>', (Start((stream_params("ws://a/"),)),),
         "has no name"),
        ("<Redirect> </Redirect>", (), "URL"),
    ],
)  # fmt: skip
def test_what_is_not_understood_costs_a_warning_and_no_more(text: str, verbs: tuple[Verb, ...], word: str) -> None:
    found = response(text)
    assert found.verbs == verbs
    assert bool(found.warnings) == bool(word)
    assert word in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("attributes", "fork", "app"),
    [
        ('codec="L16" bidirectionalCodec="L16"', "L16/8000", "L16/8000"),
        ('codec="L16" bidirectionalCodec="L16" bidirectionalSamplingRate="16000"', "L16/16000", "L16/16000"),
        ('codec="L16" bidirectionalCodec="L16" samplingRate="24000"', "L16/24000", "L16/24000"),
        ('bidirectionalSamplingRate="48000" bidirectionalCodec="L16" codec="L16"', "L16/48000", "L16/48000"),
        (
            'codec="L16" bidirectionalCodec="L16" samplingRate="16000" bidirectionalSamplingRate="24000"',
            "L16/16000",
            "L16/24000",
        ),
        ('codec="L16" bidirectionalSamplingRate="16000"', "L16/16000", "PCMU"),
        ('bidirectionalCodec="L16" samplingRate="16000"', "PCMA", "L16/16000"),
        ('bidirectionalCodec="L16" bidirectionalSamplingRate="22050"', "PCMA", "L16/22050"),
        ('bidirectionalSamplingRate="16000"', "PCMA", "PCMU"),
    ],
)
def test_l16_has_one_rate_both_ways_unless_there_are_two(attributes: str, fork: str, app: str) -> None:
    found = response(f'<Connect><Stream url="ws://a/" {attributes}/></Connect>')
    (connect,) = found.verbs
    assert isinstance(connect, Connect)
    assert (connect.stream.encoding("PCMA"), connect.stream.bidirectional_encoding) == (fork, app)
    assert found.warnings == ()


def test_a_rate_that_only_the_apps_l16_can_have_is_not_that_of_the_fork() -> None:
    found = response(
        '<Start><Stream url="ws://a/" codec="L16" bidirectionalCodec="L16" bidirectionalSamplingRate="22050"/></Start>'
    )
    (start,) = found.verbs
    assert isinstance(start, Start)
    assert start.streams[0].encoding("PCMA") == "L16/8000"
    assert start.streams[0].bidirectional_encoding == "L16/22050"
    assert found.warnings == ("line 1: <Stream codec> L16 has no rate of 22050; the default was taken",)


@pytest.mark.parametrize("endian", ["little", "big"])
def test_the_byte_order_of_l16_is_the_streams_own(endian: Literal["little", "big"]) -> None:
    found = response(f'<Connect><Stream url="ws://a/" codec="L16" l16Endian="{endian}"/></Connect>')
    assert found == Document((Connect(stream_params("ws://a/", codec="L16", l16_endian=endian)),))


def test_a_password_is_in_no_warning_and_no_repr() -> None:
    secret = "s3cret" * 100
    found = response(f'<Dial><Sip password="{secret}">sip:a@b</Sip><Sip password="s3cret">sip:a@b</Sip></Dial>')
    assert isinstance(found.verbs[0], Dial)
    assert found.verbs[0].targets[1].password == "s3cret"
    assert "s3cret" not in repr(found)


BOMB = '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not XML"),
        ("hello", "not XML"),
        ("<Response>", "not XML"),
        ("<Response>&nothing;</Response>", "not XML"),
        ("<html/>", "<html>"),
        (BOMB + "<Response><Say>&b;</Say></Response>", "DTD"),
        (OUTSIDE + "<Response><Say>&x;</Say></Response>", "DTD"),
        ("<!DOCTYPE Response><Response/>", "DTD"),
        ("<Response>" + " " * (SIZE_LIMIT - 20) + "</Response>", "65537 bytes"),
        ("<Response>\udc80</Response>", "not XML"),
    ],
)
def test_what_is_no_texml_is_refused(text: str, word: str) -> None:
    with pytest.raises(DocumentError, match=word):
        parse(text)


def test_what_is_just_within_the_limits_is_taken() -> None:
    text = "<Response>" + " " * (SIZE_LIMIT - 21) + "</Response>"
    assert parse(text) == Document(())
    for encoding in ("UTF-16", "no-such"):
        assert parse(f'<?xml version="1.0" encoding="{encoding}"?><Response/>') == Document(())
    depth = (SIZE_LIMIT - 40) // 7
    found = response("<a>" * depth + "</a>" * depth)
    assert (found.verbs, len(found.warnings)) == ((), 1)
    nested = response("<Say>" + "<s>" * 9000 + "deep" + "</s>" * 9000 + "</Say>")
    assert nested.verbs == (Say("<s> " * DEPTH_LIMIT + "deep" + " </s>" * DEPTH_LIMIT),)


DIAL = "<Dial {}>1</Dial>"


@pytest.mark.parametrize(
    ("text", "name", "low", "high"),
    [
        ("<Pause {}/>", "length", 1, 180),
        ("<Say {}>a</Say>", "loop", 0, 1000),
        ("<Play {}>http://h/</Play>", "loop", 0, 1000),
        ("<Gather {}/>", "timeout", 1, 120),
        ("<Gather {}/>", "numDigits", 1, 128),
        ("<Gather {}/>", "maxDigits", 1, 128),
        (DIAL, "timeout", 1, 600),
        (DIAL, "timeLimit", 1, 14400),
        ("<Record {}/>", "timeout", 0, 14400),
        ("<Record {}/>", "maxLength", 0, 14400),
    ],
)
def test_a_number_beyond_a_bound_is_the_bound(text: str, name: str, low: int, high: int) -> None:
    def read(number: int) -> Document:
        return response(text.format(f'{name}="{number}"'))

    assert len({read(number).verbs for number in (low, low + 1, high - 1, high)}) == 4
    assert not any(read(number).warnings for number in (low, low + 1, high - 1, high))
    beyond = [(high, high + 1), (high, 999_999_999), *([(low, low - 1)] if low else [])]
    for bound, number in beyond:
        assert read(number).verbs == read(bound).verbs
        assert read(number).warnings[0].endswith(f"must be a number from {low} to {high}; {bound} was taken")


@pytest.mark.parametrize(
    ("text", "name", "most"),
    [
        ('<Start><Stream url="ws://h/" {}/></Start>', "name", 255),
        ('<Start><Stream url="ws://h/"><Parameter name="n" {}/></Stream></Start>', "value", 4000),
        ('<Start><Stream url="ws://h/"><Parameter {}/></Stream></Start>', "name", 255),
        ("<Stop><Stream {}/></Stop>", "name", 255),
        ("<Dial><Sip {}>sip:a@b</Sip></Dial>", "username", 255),
        ("<Dial><Sip {}>sip:a@b</Sip></Dial>", "password", 255),
        ("<Dial><Number {}>1</Number></Dial>", "statusCallbackEvent", 100),
        ("<Say {}>a</Say>", "voice", 100),
        ("<Say {}>a</Say>", "language", 35),
        ("<Gather {}/>", "input", 100),
        (DIAL, "fromDisplayName", 128),
    ],
)
def test_a_text_longer_than_its_limit_is_left_out(text: str, name: str, most: int) -> None:
    words = f"must be at most {most} characters"
    just, over = (response(text.format(f'{name}="{"x" * size}"')) for size in (most, most + 1))
    assert words not in " ".join(just.warnings)
    assert words in " ".join(over.warnings)
    assert "x" * most not in repr(over)


def test_everything_is_bounded() -> None:
    assert len(response("<x/>" * 1000).warnings) == WARNING_LIMIT
    dialled = response("<Dial>" + "<Number>1</Number>" * 20 + "</Dial>").verbs[0]
    assert isinstance(dialled, Dial)
    assert len(dialled.targets) == TARGET_LIMIT
    said = response("<Say>" + "word " * 1000 + "</Say>")
    assert isinstance(said.verbs[0], Say)
    assert len(said.verbs[0].text) == TEXT_LIMIT
    assert "cut off" in said.warnings[0]
    assert max(map(len, response(f"<{'x' * 60000}/>").warnings)) < 100


ATTRIBUTES = "action method timeout url track name loop length digits numDigits finishOnKey channels password reason"
NAMES = st.sampled_from([*_VERBS, "Response", "Stream", "Parameter", "Number", "Sip", *ATTRIBUTES.split()])
VALUES = st.sampled_from(
    ["", "1", "0", "true", "POST", "busy", "ws://h/", "http://h/", "*#", "w1", "&lt;", "sip:a@b?X-a=b"]
)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    name = draw(NAMES)
    given = {draw(NAMES): draw(VALUES) for _ in range(draw(st.integers(0, 3)))}
    attributes = "".join(f' {key}="{value}"' for key, value in given.items())
    inner = draw(VALUES)
    if depth:
        inner += "".join(draw(st.lists(elements(depth=depth - 1), max_size=3)))
    return f"<{name}{attributes}>{inner}</{name}>"


@given(st.text(max_size=300) | st.lists(elements(), max_size=3).map("".join))
@EXAMPLES
def test_any_text_gives_a_document_or_a_document_error(text: str) -> None:
    for whole in (text, f"<Response>{text}</Response>"):
        try:
            found = parse(whole)
        except DocumentError:
            continue
        assert all(isinstance(verb, Verb) for verb in found.verbs)
        assert len(found.warnings) <= WARNING_LIMIT
