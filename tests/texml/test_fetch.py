"""Documents from the application: parameters, signature, fallback, and what counts as no answer."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import structlog

from trunkline.config import TexmlSettings
from trunkline.outbound.cookies import Cookies
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.turns import Limits
from trunkline.texml import effects, fetch
from trunkline.texml.document import SIZE_LIMIT, parse
from trunkline.texml.fetch import Fetcher, FetchError
from trunkline.texml.verbs import Document, Hangup, Method, Play, Say
from trunkline.webhooks.signing import Signer
from webapp import Answer, WebApp, texml

COMMON = (("CallSid", "v3:x"), ("From", "+1555"))


@pytest.fixture
async def fetcher(signer: Signer, dialler: Dialler) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(TexmlSettings(), signer, dialler, parse)
    yield fetcher
    await fetcher.stop()


def order(url: str, fallback: str | None = None, *, method: Method = "POST") -> effects.Fetch:
    other = effects.DocumentRequest(fallback, "GET") if fallback else None
    return effects.Fetch(1, effects.DocumentRequest(url, method, (("Digits", "1#"),)), other)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_carries_the_parameters_and_a_signature(
    web: WebApp, fetcher: Fetcher, signer: Signer, method: Method
) -> None:
    web.answers["/v"] = texml("<Hangup/>")
    url = web.url + "/v?own=1"
    found = await fetcher.document(order(url, method=method), COMMON, Cookies())
    (request,) = web.received
    assert found == (Document((Hangup(),)), url if method == "POST" else web.url + request.path)
    assert request.method == method
    own = {"own": "1"} if method == "GET" else {}
    assert request.fields == own | {"CallSid": "v3:x", "From": "+1555", "Digits": "1#"}
    assert request.verified(base64.b64decode(signer.public_key))
    assert request.headers["user-agent"].startswith("Trunkline/")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(status=404), "HTTP status 404"),
        (Answer(status=500, body=b"<Response/>"), "HTTP status 500"),
        (Answer(b"<html/>"), "<html>"),
        (Answer(), "not XML"),
        (Answer(b"<Response>" + b" " * SIZE_LIMIT + b"</Response>"), "more than 65536 bytes"),
        (Answer(b"<Response/>", headers={"Content-Encoding": "gzip"}), "says that it is gzip, and is not"),
        (Answer(b"<Response/>", headers={"Content-Encoding": "br"}), "compressed with 'br', which was not asked for"),
        (Answer(gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"}), "more than 65536 bytes"),
        (Answer(status=302, headers={"Location": "/bad"}), "redirect"),
    ],
)
async def test_a_response_that_is_no_document_leads_to_the_fallback_url(
    web: WebApp, fetcher: Fetcher, answer: Answer, word: str
) -> None:
    web.answers |= {"/bad": answer, "/good": texml("<Hangup/>")}
    with structlog.testing.capture_logs() as logs:
        found, url = await fetcher.document(order(web.url + "/bad", web.url + "/good"), COMMON, Cookies())
    failed, fetched = logs
    for line, event, level, path in (
        (failed, "texml_fetch_failed", "warning", "bad"),
        (fetched, "texml_fetched", "info", "good"),
    ):
        assert (line["event"], line["log_level"], line["call_sid"]) == (event, level, "v3:x")
        assert line["url"] == f"{web.url}/{path}"
        assert 0 <= line["seconds"] < 30
    assert word in failed["reason"]
    assert found == Document((Hangup(),))
    assert urlsplit(url).path == "/good"
    with pytest.raises(FetchError) as error:
        await fetcher.document(order(web.url + "/bad?secret=1", web.url + "/none"), COMMON, Cookies())
    assert word in str(error.value)
    assert "HTTP status 404" in str(error.value)
    assert "secret" not in str(error.value)
    assert fetcher.counters == {"fallbacks": 2, "fetched": 1, "failed": 3}


async def test_a_timeout_leads_to_the_fallback_url(web: WebApp, signer: Signer, dialler: Dialler) -> None:
    web.answers["/bad"] = None
    fetcher = Fetcher(TexmlSettings(fetch_timeout=0.3), signer, dialler, parse)
    with pytest.raises(FetchError, match=r"no answer within 0\.3 s.*no answer within 0\.3 s"):
        await fetcher.document(order(web.url + "/bad", web.url + "/bad"), COMMON, Cookies())
    assert fetcher.counters == {"fallbacks": 1, "failed": 2}
    await fetcher.stop()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://[/", "http://a\u2028/"])
async def test_a_url_that_leads_nowhere_is_an_error(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(FetchError):
        await fetcher.document(order(url), COMMON, Cookies())


async def test_redirections_are_followed_and_the_last_url_is_the_documents(web: WebApp, fetcher: Fetcher) -> None:
    web.answers |= {"/a": Answer(status=307, headers={"Location": "/b/c"}), "/b/c": texml("")}
    found = await fetcher.document(order(web.url + "/a"), COMMON, Cookies())
    assert found == (Document(()), web.url + "/b/c")
    assert web.asked("/b/c")[0].fields["CallSid"] == "v3:x"


async def test_an_answer_that_is_audio_is_played(web: WebApp, fetcher: Fetcher) -> None:
    web.answers["/a.mp3"] = Answer(b"ID3" + bytes(SIZE_LIMIT), headers={"Content-Type": "audio/mpeg"})
    found, url = await fetcher.document(order(web.url + "/a.mp3"), COMMON, Cookies())
    assert found == Document((Play(url),))


async def test_a_document_is_read_by_its_content_type_and_without_its_coding(web: WebApp, fetcher: Fetcher) -> None:
    body = gzip.compress("<Response><Say>Grüße</Say></Response>".encode("latin-1"))
    headers = {"Content-Type": "application/xml; charset=ISO-8859-1", "Content-Encoding": "gzip"}
    web.answers["/v"] = Answer(body, headers=headers)
    found, _ = await fetcher.document(order(web.url + "/v"), COMMON, Cookies())
    assert found.verbs == (Say("Grüße"),)


@pytest.mark.parametrize(("status", "method", "body"), [(302, "GET", b""), (307, "POST", b"CallSid=v3%3Ax")])
async def test_a_redirected_request_is_signed_for_what_is_sent(
    web: WebApp, fetcher: Fetcher, signer: Signer, status: int, method: str, body: bytes
) -> None:
    web.answers |= {"/a": Answer(status=status, headers={"Location": "/b"}), "/b": texml("<Hangup/>")}
    await fetcher.document(order(web.url + "/a"), COMMON, Cookies())
    (request,) = web.asked("/b")
    assert (request.method, request.body[: len(body)]) == (method, body)
    assert request.verified(base64.b64decode(signer.public_key))
    assert fetcher.counters == {"fetched": 1}


async def test_a_document_of_another_origin_is_asked_for_unsigned_and_warned_of(web: WebApp, fetcher: Fetcher) -> None:
    async with WebApp() as other:
        web.answers["/a"] = Answer(status=307, headers={"Location": other.url + "/b"})
        other.answers["/b"] = texml("<Hangup/>")
        found, url = await fetcher.document(order(web.url + "/a"), COMMON, Cookies())
        (request,) = other.received
        other.answers["/b"] = Answer(status=500)
        with pytest.raises(FetchError, match="was asked without our signature"):
            await fetcher.document(order(web.url + "/a"), COMMON, Cookies())
    assert (found.verbs, url) == ((Hangup(),), other.url + "/b")
    assert not {"telnyx-signature-ed25519", "telnyx-timestamp"} & request.headers.keys()
    (warning,) = found.warnings
    assert "was asked without our signature" in warning
    assert fetcher.counters == {"fetched": 1, "unsigned": 1, "failed": 1}


async def test_a_call_keeps_its_cookies_and_no_other_gets_them(web: WebApp, fetcher: Fetcher) -> None:
    page = texml("<Hangup/>")
    web.answers["/v"] = Answer(page.body, headers={**page.headers, "Set-Cookie": "session=1"})
    one, other = Cookies(), Cookies()
    for cookies in (one, other, one):
        await fetcher.document(order(web.url + "/v"), COMMON, cookies)
    assert [request.headers.get("cookie") for request in web.received] == [None, None, "session=1"]


async def test_no_account_waits_for_all_the_documents_of_another(
    web: WebApp, signer: Signer, dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LIMITS", Limits(total=1, account=1, host=1, silent=1))
    fetcher = Fetcher(TexmlSettings(), signer, dialler, parse)
    web.answers["/v"] = texml("<Hangup/>")
    accounts = ["a"] * 100 + ["b"]
    await asyncio.gather(
        *(fetcher.document(order(web.url + "/v"), (("AccountSid", sid), *COMMON), Cookies()) for sid in accounts)
    )
    requested = [request.fields["AccountSid"] for request in web.received]
    assert len(requested) == 101
    assert requested.index("b") <= 2, "one under way, and one turn"
    await fetcher.stop()
