"""Markup in `<Say>`: words stay apart, what the voice can do is kept, and of the rest the log is warned."""

import shutil
import wave
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.config import TexmlSettings
from trunkline.texml.cache import FileCache
from trunkline.texml.document import parse
from trunkline.texml.verbs import Say
from trunkline.texml.voice import Espeak

PAUSES_LIMIT = 120_000
TEXT_LIMIT = 3000

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng; `make test` installs it")


def said(content: str) -> tuple[str, tuple[str, ...]]:
    """The text that the speaker gets, and the warnings."""
    document = parse(f"<Response><Say>{content}</Say></Response>")
    return "".join(verb.text for verb in document.verbs if isinstance(verb, Say)), document.warnings


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain words", "plain words"),
        ("a &amp; b &lt; c", "a &amp; b &lt; c"),
        ('one<break time="1s"/>two', 'one <break time="1000ms"/> two'),
        ('one<break time=" 1.5s "/>two', 'one <break time="1500ms"/> two'),
        ('one<break time="250ms"/>two', 'one <break time="250ms"/> two'),
        ('one<break time=".5s"/>two', 'one <break time="500ms"/> two'),
        ('<break time="1s"/>', '<break time="1000ms"/>'),
        ("<break/>", "<break/>"),
        ('a<break strength="strong"/>b', 'a <break strength="strong"/> b'),
        ("<p>It is one</p><p>wait here</p>", "<p> It is one </p> <p> wait here </p>"),
        ("<s>a</s><s>b</s>", "<s> a </s> <s> b </s>"),
        ("a<emphasis>b</emphasis>c", 'a <emphasis level="moderate"> b </emphasis> c'),
        ('<prosody rate="slow" pitch="+10%">a</prosody>', '<prosody rate="slow" pitch="+10%"> a </prosody>'),
        (
            'is<say-as interpret-as="spell-out">abc</say-as>now',
            'is <say-as interpret-as="characters"> abc </say-as> now',
        ),
        ('<say-as interpret-as="digits">12</say-as>', '<say-as interpret-as="tts:digits"> 12 </say-as>'),
        ('<sub alias="a &amp; b">AB</sub>', '<sub alias="a &amp; b">AB</sub>'),
        ('a <lang xml:lang="fr-FR">oui</lang>', 'a <voice xml:lang="fr-fr"> oui </voice>'),
        ("a<!-- not spoken -->b", "a b"),
        ("a<?not spoken?>b", "a b"),
        ("<![CDATA[<speak>a<break time='1s'/>b</speak>]]>", 'a <break time="1000ms"/> b'),
        ("&lt;speak&gt;a&lt;p&gt;b&lt;/p&gt;&lt;/speak&gt;", "a <p> b </p>"),
        ("<speak>a <p>b</p></speak>", "a <p> b </p>"),
        ("&lt;speak&gt;not closed", "&lt;speak&gt;not closed"),
        ("&lt;speaker&gt;a&lt;/speaker&gt;", "&lt;speaker&gt;a&lt;/speaker&gt;"),
        ("<![CDATA[<speak>&x;</speak>]]>", "&lt;speak&gt;&amp;x;&lt;/speak&gt;"),
    ],
)
def test_what_the_voice_can_do_is_kept_and_words_stay_apart(content: str, text: str) -> None:
    assert said(content) == (text, ())


@pytest.mark.parametrize("strength", ["none", "x-weak", "weak", "medium", "strong", "x-strong"])
def test_every_strength_of_a_break_is_kept(strength: str) -> None:
    """As SSML 1.1 has them."""
    assert said(f'a<break strength="{strength}"/>b') == (f'a <break strength="{strength}"/> b', ())


@pytest.mark.parametrize("level", ["strong", "moderate", "none", "reduced"])
def test_every_level_of_an_emphasis_is_kept(level: str) -> None:
    """As SSML 1.1 has them."""
    assert said(f'<emphasis level="{level}">a</emphasis>') == (f'<emphasis level="{level}"> a </emphasis>', ())


@pytest.mark.parametrize(
    ("content", "text", "word"),
    [
        ('a<amazon:effect name="whispered">b</amazon:effect>c', "a b c", "<effect>"),
        ('a<phoneme alphabet="ipa" ph="x">b</phoneme>c', "a b c", "<phoneme>"),
        ('a<say-as interpret-as="date" format="mdy">b</say-as>c', "a b c", "interpret-as"),
        ("a<say-as>b</say-as>c", "a b c", "interpret-as"),
        ("a<sub>b</sub>c", "a b c", "alias"),
        ("a<lang>b</lang>c", "a b c", "language"),
        ('a<break time="soon"/>b', "a <break/> b", "<break time>"),
        ('a<break strength="enormous"/>b', "a <break/> b", "<break strength>"),
        ('a<break time="3600s"/>b', 'a <break time="10000ms"/> b', "shortened"),
        ('<prosody volume="+6dB">b</prosody>', "<prosody> b </prosody>", "<prosody volume>"),
        ('<emphasis level="much">b</emphasis>', '<emphasis level="moderate"> b </emphasis>', "<emphasis level>"),
        ('<audio src="https://example.com/a.mp3">b</audio>', "b", "<audio>"),
    ],
)
def test_unsupported_markup_leaves_its_text_and_a_warning(content: str, text: str, word: str) -> None:
    found, warnings = said(content)
    assert found == text
    assert len(warnings) == 1
    assert word in warnings[0]


def test_pauses_and_words_are_bounded() -> None:
    text, warnings = said('<break time="10s"/>' * 1000)
    assert text.count('"10000ms"') == PAUSES_LIMIT // 10_000
    assert text.count('"0ms"') == 1000 - PAUSES_LIMIT // 10_000
    assert "shortened" in warnings[0]
    text, warnings = said("<p>" + "x" * 2000 + "</p>" + "y" * 2000 + "<p>z</p>")
    assert text.count("x") + text.count("y") == TEXT_LIMIT
    assert "z" not in text
    assert [warning for warning in warnings if "cut off" in warning] == list(warnings)
    assert said(" <p> <!-- --> </p> ") == ("", ("line 1: <Say> has no text, and was skipped",))


MARKUP = st.recursive(
    st.text("ab &<>\"'.\u00e9", max_size=6).map(lambda text: text.replace("&", "&amp;").replace("<", "&lt;")),
    lambda inner: st.tuples(
        st.sampled_from(["p", "s", "break", "sub", "say-as", "prosody", "lang", "emphasis", "x", "speak"]),
        st.lists(inner, max_size=3),
    ).map(lambda made: f'<{made[0]} time="1s" alias="w" interpret-as="date">' + "".join(made[1]) + f"</{made[0]}>"),
    max_leaves=12,
)


@given(st.lists(MARKUP, max_size=4).map("".join))
@settings(max_examples=150, deadline=None)
def test_any_markup_gives_well_formed_markup(content: str) -> None:
    text, _warnings = said(content)
    assert said(text)[0] == text or not text


def seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        return float(file.getnframes() / file.getframerate())


@needs_espeak
@pytest.mark.peer
async def test_espeak_ng_speaks_the_markup(cache: FileCache) -> None:
    speaker = Espeak(TexmlSettings(), cache)

    async def lasts(content: str) -> float:
        return seconds(await speaker.speak("a", said(content)[0], "man", "en-US"))

    plain = await lasts("one two")
    assert await lasts("one<!-- -->two") == plain
    assert 3 < await lasts('one<break time="3s"/> two') - plain < 3.2
    assert 0.5 < await lasts('one<break time="0.5s"/> two') - plain < 0.7
    assert await lasts('<prosody rate="50%">one two</prosody>') > 1.3 * plain
    assert await lasts('<sub alias="one two three four five six">1</sub>') > 1.5 * plain
    spelled, word = await lasts('<say-as interpret-as="characters">abc</say-as>'), await lasts("abc")
    assert spelled > word
    assert await lasts("AT &amp; T") > await lasts("AT T")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("characters", "characters"),
        ("spell-out", "characters"),
        ("verbatim", "characters"),
        ("digits", "tts:digits"),
        ("telephone", "telephone"),
        ("cardinal", "number"),
        ("number", "number"),
    ],
)
def test_say_as_values_are_mapped_to_those_of_the_voice(given: str, meant: str) -> None:
    text, warnings = said(f'<say-as interpret-as="{given}">12</say-as>')
    assert (text, warnings) == (f'<say-as interpret-as="{meant}"> 12 </say-as>', ())


def test_short_pauses_take_nothing_of_what_all_may_last() -> None:
    whole = f'<break time="{PAUSES_LIMIT // 12}ms"/>' * 12
    text, warnings = said("a" + "<break/>" * 20 + whole)
    assert warnings == ()
    assert text.count(f'time="{PAUSES_LIMIT // 12}ms"') == 12
    assert said("a" + whole + '<break time="1ms"/>')[1] != ()
