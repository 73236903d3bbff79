"""The console in a real browser, with a file as the microphone: a bot is talked to, heard and interrupted."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Download, Page, async_playwright, expect

from peers.harness import RecordingApp, happens, new_server, running
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess
from trunkline.media.codecs import CODECS

pytestmark = [pytest.mark.peer, pytest.mark.asyncio(loop_scope="module")]
SHOTS = os.environ.get("CONSOLE_SCREENSHOTS")
"""A directory for screenshots, which CI keeps."""
SLOW = 30_000
"""Milliseconds that anything on the page may take on a busy machine."""
MILLISECONDS = re.compile(r"^\d+ ms$")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
TONE = CODECS["PCMU"].encoder()((np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) * 12000).astype("<i2").tobytes())


def talk(path: Path) -> Path:
    """Bursts like syllables, with pauses between words: what the microphone hears, again and again."""
    rate = 48000
    time = np.arange(rate * 4) / rate
    voice = sum(np.sin(2 * np.pi * 160 * part * time) / part for part in range(1, 8))
    loud = (np.sin(2 * np.pi * 4 * time) > -0.2) & ((time % 2) < 1.2)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((voice * loud * 8000).astype("<i2").tobytes())
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot() -> AsyncIterator[RecordingApp]:
    async with RecordingApp() as app:
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(tmp_path_factory: pytest.TempPathFactory, bot: RecordingApp) -> AsyncIterator[ServerProcess]:
    numbers = [
        {"pattern": "+15550001", "application": "bot"},
        {"pattern": "+15550002", "texml": '<Response><Answer/><Pause length="180"/></Response>'},
    ]
    settings: dict[str, Any] = {
        "applications": json.dumps([{"name": "bot", "stream": f"{bot.url}?application=bot"}]),
        "numbers": json.dumps(numbers),
    }
    settings |= {"streams__capture": tmp_path_factory.mktemp("captures"), "streams__capture_streams": "asked"}
    async with running(new_server(tmp_path_factory.mktemp("server"), stream=bot.url, **settings)) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None or not AXE.exists():
        pytest.skip("chromium or axe-core is not installed; `make test` installs them")
    microphone = talk(tmp_path_factory.mktemp("microphone") / "talk.wav")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        await browser.close()


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base
        self.faults: list[str] = []
        page.set_default_timeout(SLOW)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)

    async def go(self, path: str = "") -> None:
        await self.page.goto(self.base + path)

    async def shot(self, name: str) -> None:
        """At each size, in both schemes; nothing may be wider than the page, or break a rule of WCAG A or AA."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        for size, (width, height) in SIZES.items():
            await self.page.set_viewport_size({"width": width, "height": height})
            await self.page.evaluate("document.fonts.ready")
            wide = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} at {size} size is {wide} pixels too wide"
            for scheme in ("light", "dark"):
                await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                assert await self.page.evaluate(FAINT) == [], f"{name}, {scheme}: text with too little contrast"
                if (size, scheme) in RULES_LOOKED_AT and not self.page.url.endswith("/docs"):
                    assert await self.page.evaluate(WRONG) == [], f"{name}, {size}, {scheme}"
                if SHOTS:
                    path = Path(SHOTS) / f"{name}-{size}-{scheme}.png"
                    await self.page.screenshot(path=path, full_page=True)
        await self.page.emulate_media(color_scheme="light")
        await self.page.set_viewport_size({"width": 1280, "height": 900})


FAINT = """() => {
  const channels = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const back = (one) => { for (; one; one = one.parentElement) {
    const color = channels(getComputedStyle(one).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color; }
    return [255, 255, 255]; };
  return [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() && !one.disabled
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).filter((one) => {
      const [a, b] = [light(channels(getComputedStyle(one).color)), light(back(one))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5; }).map((one) => one.outerHTML.slice(0, 200));
}"""
RULES_LOOKED_AT = (("desktop", "light"), ("phone", "dark"))
"""Where axe looks; contrasts are looked at everywhere."""
AXE = Path(__file__).parent / "node/node_modules/axe-core/axe.min.js"
"""Finds what WCAG 2.2 forbids; `make test` installs it."""
WRONG = """async () => (await axe.run(document, {resultTypes: ["violations"],
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})).violations
  .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`))"""


@pytest_asyncio.fixture(loop_scope="module")
async def watched(browser: Browser, serving: ServerProcess) -> AsyncIterator[Watched]:
    context = await browser.new_context(permissions=["microphone"])
    watched = Watched(await context.new_page(), f"http://127.0.0.1:{serving.http_port}/")
    yield watched
    await context.close()
    assert watched.faults == []


async def token_of(server: ServerProcess) -> str:
    headers = {"authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, verify=False, headers=headers) as client:
        answer = await client.post("/trunkline/console/tokens")
        return str(answer.json()["data"]["token"])


def phone(page: Page) -> Any:
    return page.locator("browser-phone")


async def listens_in(page: Page) -> None:
    """By keyboard: the tone of the bot is heard and seen, and of the caller alone it is not there."""
    audio = page.locator("call-audio")
    await audio.get_by_role("button", name="Listen in").focus()
    await page.keyboard.press("Enter")
    await expect(audio.get_by_role("status")).to_have_text("You listen in.", timeout=SLOW)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(audio).to_contain_text(re.compile("heard by the caller loudest near 4[0-9]0 Hz"), timeout=SLOW)
    track = audio.get_by_label("Listen to")
    await track.focus()
    for key, chosen in (("End", "outbound"), ("ArrowUp", "inbound")):
        await page.keyboard.press(key)
        await expect(track).to_have_value(chosen)
        if chosen == "outbound":
            await page.wait_for_function("() => +document.querySelector('call-audio').dataset.peak > 0.2")
    await page.wait_for_function("() => +document.querySelector('call-audio').dataset.peak < 0.02")


async def test_a_bot_is_talked_to_heard_and_interrupted(
    watched: Watched, serving: ServerProcess, bot: RecordingApp
) -> None:
    page = watched.page
    await watched.go(f"#token={await token_of(serving)}")
    await expect(page.get_by_role("status").first).to_have_text("live", timeout=SLOW)
    assert "token" not in page.url
    await watched.shot("calls-empty")
    begun = len(bot.sockets)
    await page.get_by_label("Number or SIP user to call").fill("+13125550123")
    await phone(page).get_by_role("button", name="Call", exact=True).click()
    await expect(phone(page)).to_contain_text("speak now", timeout=SLOW)
    await happens(bot.watch, "a stream starts", lambda: has_begun(bot, begun))
    stream = bot.sockets[-1]

    def is_talked_to() -> bool:
        pcm = b"".join(map(CODECS["PCMU"].decoder(), stream.payloads()[-100:]))
        return int(np.abs(np.frombuffer(pcm, "<i2").astype(int)).max(initial=0)) > 3000

    await happens(bot.watch, "the bot hears the microphone", is_talked_to)
    for _ in range(60):
        await stream.play(TONE)
    await stream.send({"event": "mark", "mark": {"name": "greeting"}})
    speaker = "() => document.querySelector('browser-phone .meter.out i').style.transform.match(/[\\d.]+/)?.[0] > 0.2"
    await page.wait_for_function(speaker)
    await phone(page).get_by_role("link", name="Look at it").click()
    numbers = page.locator("dl.numbers")
    await expect(numbers).to_contain_text("1 / 0 / 0", timeout=SLOW)
    await page.wait_for_function(
        "() => +document.querySelectorAll('dl.numbers dd')[2].textContent.match(/\\d+/)?.[0] > 1000"
    )
    await listens_in(page)
    # The caller, who speaks again and again, speaks over the tone: the bot clears.
    heard = len(stream.payloads())
    await happens(bot.watch, "two seconds pass", lambda: len(stream.payloads()) > heard + 120)
    await stream.send({"event": "clear"})
    await expect(numbers).to_contain_text("1 / 0 / 1", timeout=SLOW)
    await expect(numbers.locator("dd").nth(0)).to_have_text(MILLISECONDS, timeout=SLOW)
    await expect(numbers.locator("dd").nth(1)).to_have_text(MILLISECONDS, timeout=SLOW)
    await phone(page).get_by_role("button", name="5").click()
    await happens(bot.watch, "a key comes", lambda: bool(stream.all("dtmf")))
    await stream.send({"event": "bogus"})
    await expect(page.get_by_role("list", name="Messages", exact=True)).to_contain_text("unknown event", timeout=SLOW)
    ladder = page.get_by_role("list", name="SIP messages")
    for line in ("INVITE", "401", "200 OK", "ACK"):
        await expect(ladder).to_contain_text(line, timeout=SLOW)
    await expect(page.get_by_role("region", name="Why")).to_contain_text("queue_empty", timeout=SLOW)
    await watched.shot("call")
    await page.reload()
    await expect(phone(page)).to_contain_text("speak now", timeout=SLOW)
    await page.get_by_role("button", name="Hang up").first.click()
    await expect(phone(page)).to_contain_text("The call is over", timeout=SLOW)
    await happens(bot.watch, "the stream stops", lambda: bool(stream.all("stop")))
    await expect(page.locator("main")).to_contain_text("completed", timeout=SLOW)
    await expect(page.get_by_role("button", name="Listen in")).to_be_disabled()


async def opened(watched: Watched, serving: ServerProcess, page_of: str) -> Page:
    """Logged in by a link, on one of the pages."""
    await watched.go(f"#token={await token_of(serving)}")
    await expect(watched.page.get_by_role("status").first).to_have_text("live", timeout=SLOW)
    await watched.page.get_by_role("navigation", name="Lists").get_by_role("link", name=page_of).click()
    return watched.page


def has_begun(bot: RecordingApp, before: int) -> bool:
    """A stream more than before."""
    return len(bot.sockets) > before and bot.sockets[-1].started


def has_stopped(bot: RecordingApp) -> bool:
    return bool(bot.sockets[-1].all("stop"))


STATES = ("stopped",) * 3
"""Of the streams that two lines and the form have started, newest first."""


async def same_by_lines(page: Page, serving: ServerProcess, bot: RecordingApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines beside the form start streams as the form does."""
    curl = await page.get_by_label("The same with curl").text_content()
    python = compile(str(await page.get_by_label("The same with the Python SDK").text_content()), "python", "exec")
    monkeypatch.setenv("TRUNKLINE_API_KEY", serving.api_key)
    command = ["sh", "-c", f"{curl} --fail --silent"]
    for run in (partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL), partial(exec, python, {})):
        begun = len(bot.sockets)
        await asyncio.to_thread(run)
        await happens(bot.watch, "a stream starts", partial(has_begun, bot, begun))
        assert bot.sockets[-1].path == "/app?who=form"
        await page.get_by_role("button", name="Stop", exact=True).click()
        await happens(bot.watch, "it stops", partial(has_stopped, bot))
    headers = {"authorization": f"Bearer {serving.api_key}"}
    async with httpx.AsyncClient(base_url=serving.base_url, trust_env=False, verify=False, headers=headers) as client:
        found = (await client.get("/trunkline/streams", params={"Name": "it's a tap"})).json()["streams"]
    assert [(one["track"], one["status"]) for one in found] == [("inbound_track", status) for status in STATES]


async def is_kept_as_a_test(page: Page, bot: RecordingApp, directory: Path, stream: str) -> None:
    """The capture of a stream is saved with a test, which pytest runs against a bot that echoes."""
    kept = page.get_by_role("region", name="Captures")
    await expect(kept.get_by_role("button", name="Save as test")).to_have_count(3, timeout=SLOW)
    saved: list[Download] = []
    page.on("download", lambda download: saved.append(download))
    async with page.expect_event("download", lambda download: download.suggested_filename.endswith(".py")):
        row = kept.locator("div.row").filter(has_text=f"stream {stream[:8]}")
        await row.get_by_role("button", name="Save as test").click()
    assert len(saved) == 2
    for download in saved:
        await download.save_as(directory / download.suggested_filename)
    test = directory / saved[1].suggested_filename
    assert 'live.press("5")' in test.read_text()
    assert bot.url in test.read_text()
    bot.echo = True
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *("-p", "no:cacheprovider", "-p", "trunkline.testing.plugin"),
        str(test),
    ]
    process = await asyncio.create_subprocess_exec(*command, cwd=directory, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    bot.echo = False
    assert process.returncode == 0, said.decode()


async def test_streams_are_started_paused_and_stopped_and_callbacks_sent_again(
    watched: Watched, serving: ServerProcess, bot: RecordingApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = await opened(watched, serving, "Numbers")
    await page.get_by_role("row", name="+15550002").get_by_role("button", name="Call it").click()
    await expect(phone(page)).to_contain_text("speak now", timeout=SLOW)
    await phone(page).get_by_role("link", name="Look at it").click()
    await page.get_by_text("Start a stream…").click()
    async with CallbackReceiver() as receiver:
        form = page.get_by_role("region", name="Streams", exact=True)
        await form.get_by_label("WebSocket URL").fill(f"{bot.url}?who=form")
        await form.get_by_label("The bot sends").select_option("rtp")
        await form.get_by_label("Status callback").fill(receiver.url)
        await form.get_by_label("Name", exact=True).fill("it's a tap")
        await form.get_by_label("Capture it").select_option("true")
        begun = len(bot.sockets)
        await form.get_by_role("button", name="Start a stream").click()
        await happens(bot.watch, "the stream starts", lambda: has_begun(bot, begun))
        await expect(form).to_contain_text("it's a tap", timeout=SLOW)
        stream = bot.sockets[-1]
        await page.get_by_text("The same with curl and the SDK").click()
        await watched.shot("call-form")
        await phone(page).get_by_role("button", name="5").click()
        await happens(bot.watch, "a key comes", lambda: bool(stream.all("dtmf")))
        for name, state in (("Pause", "paused"), ("Resume", "in-progress"), ("Stop", "stopped")):
            await form.get_by_role("button", name=name, exact=True).click()
            await expect(form.locator(".chip").first).to_have_text(state, timeout=SLOW)
        await happens(bot.watch, "it stops", lambda: bool(stream.all("stop")))
        await same_by_lines(page, serving, bot, monkeypatch)
        await is_kept_as_a_test(page, bot, tmp_path, str(stream.all("start")[0]["stream_id"]))
        await phone(page).get_by_role("button", name="Hang up").click()
        await page.get_by_role("navigation", name="Lists").get_by_role("link", name="Callbacks").click()
        row = page.get_by_role("row").filter(has_text="stream-started").first
        await expect(row).to_contain_text("delivered", timeout=SLOW)

        def started() -> int:
            return sum(one.fields["StreamEvent"] == "stream-started" for one in receiver.received)

        await happens(receiver.watch, "each stream's callback comes", lambda: started() == 3)
        await row.get_by_role("button", name="Redeliver").click()
        await expect(page.locator("#notes")).to_contain_text("It is sent again", timeout=SLOW)
        await happens(receiver.watch, "one comes again", lambda: started() == 4)
        await watched.shot("callbacks")


async def test_an_application_is_called_and_its_stream_found(
    watched: Watched, serving: ServerProcess, bot: RecordingApp
) -> None:
    page = await opened(watched, serving, "Applications")
    await watched.shot("applications")
    begun = len(bot.sockets)
    await page.get_by_role("row", name="bot").get_by_role("button", name="Call it").click()
    await happens(bot.watch, "the stream starts", lambda: has_begun(bot, begun))
    assert bot.sockets[-1].path == "/app?application=bot"
    call = bot.sockets[-1].all("start")[0]["start"]["call_control_id"]
    await page.get_by_role("navigation", name="Lists").get_by_role("link", name="Streams").click()
    await expect(page.locator("tbody tr").first).to_be_visible(timeout=SLOW)
    await page.get_by_label("Call sid").fill(call)
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr")).to_have_count(1, timeout=SLOW)
    await expect(page.locator("tbody tr")).to_contain_text("in-progress")
    await page.get_by_label("Status").select_option("stopped")
    await expect(page.locator("main")).to_contain_text("No such stream.", timeout=SLOW)
    await phone(page).get_by_role("button", name="Hang up").click()
    await expect(page.locator("tbody tr")).to_have_count(1, timeout=SLOW)
    await watched.shot("streams")


async def test_one_who_is_not_logged_in_lands_and_logs_in_with_a_key(watched: Watched, serving: ServerProcess) -> None:
    page = watched.page
    await watched.go()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Trunkline streams phone calls to your bot")
    await watched.shot("landing")
    await page.get_by_label("API key").fill("KEYwrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert").first).to_have_text("This is no valid API key of this server.", timeout=SLOW)
    watched.faults.clear()  # the browser says that there was a 401
    await page.get_by_label("API key").fill(serving.api_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Calls")).to_be_visible(timeout=SLOW)
    for name in ("Streams", "Callbacks", "Applications", "Numbers", "Phones", "Trunks", "Keys"):
        await page.get_by_role("navigation").get_by_role("link", name=name).click()
        await expect(page.get_by_role("heading", name=name).first).to_be_visible(timeout=SLOW)
        await expect(page.locator("main")).not_to_contain_text("Loading", timeout=SLOW)
        await watched.shot(name.lower())
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("API key")).to_be_visible()


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on what has that name."""
    for _ in range(80):
        await page.keyboard.press("Tab")
        if await page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


FOCUSED = """() => { const one = document.activeElement;
  return (one.labels?.[0] ?? one).textContent.trim(); }"""


async def announced(page: Page) -> list[str]:
    """The texts of the live regions in the accessibility tree that Chromium gives to screen readers."""
    session = await page.context.new_cdp_session(page)
    nodes = {node["nodeId"]: node for node in (await session.send("Accessibility.getFullAXTree"))["nodes"]}

    def text(node: dict[str, Any]) -> str:
        if node.get("role", {}).get("value") == "StaticText":
            return str(node["name"]["value"])
        return "".join(text(nodes[child]) for child in node.get("childIds", ()) if child in nodes)

    live = [
        node
        for node in nodes.values()
        if any(
            each["name"] == "live" and each["value"]["value"] in ("polite", "assertive")
            for each in node.get("properties", ())
        )
    ]
    return [found for node in live if (found := text(node))]


async def is_announced(page: Page, words: str) -> None:
    async with asyncio.timeout(SLOW / 1000):
        while words not in await announced(page):
            await page.wait_for_timeout(50)


async def test_a_call_is_made_and_ended_by_keyboard_and_what_happens_is_announced(
    watched: Watched, serving: ServerProcess
) -> None:
    page = watched.page
    await watched.go()
    await tab_to(page, "API key")
    await page.keyboard.type(serving.api_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Calls")).to_be_visible(timeout=SLOW)
    await tab_to(page, "Number or SIP user to call")
    await page.keyboard.type("+15550002")
    await page.keyboard.press("Enter")
    await is_announced(page, "In a call: speak now. Look at it")
    await tab_to(page, "Look at it")
    await page.keyboard.press("Enter")
    await is_announced(page, "The call is in progress.")
    await tab_to(page, "Start a stream\u2026")
    await page.keyboard.press("Enter")
    await tab_to(page, "WebSocket URL")
    await page.keyboard.type("ws://127.0.0.1:1/")
    await tab_to(page, "Start a stream")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="Streams", exact=True).locator(".chip")).to_be_visible(timeout=SLOW)
    await page.keyboard.press("Shift+Tab")
    await tab_to(page, "Hang up")
    await page.keyboard.press("Enter")
    await is_announced(page, "The call is completed.")


async def test_a_denied_microphone_and_an_insecure_page_are_explained(browser: Browser, serving: ServerProcess) -> None:
    context = await browser.new_context()  # no permission, and headless Chromium asks no one
    watched = Watched(await context.new_page(), f"http://127.0.0.1:{serving.http_port}/")
    await watched.go(f"#token={await token_of(serving)}")
    page = watched.page
    await page.get_by_label("Number or SIP user to call").fill("+1")
    await page.get_by_label("Number or SIP user to call").press("Enter")
    await expect(phone(page)).to_contain_text("The microphone was denied", timeout=SLOW)
    await page.evaluate("Object.defineProperty(window, 'isSecureContext', {value: false})")
    await page.get_by_label("Number or SIP user to call").press("Enter")
    await expect(phone(page)).to_contain_text("or serve HTTPS", timeout=SLOW)
    await context.close()
    assert watched.faults == []


async def test_a_used_link_is_explained(watched: Watched, serving: ServerProcess) -> None:
    token = await token_of(serving)
    async with httpx.AsyncClient(base_url=serving.base_url, trust_env=False, verify=False) as client:
        await client.post("/trunkline/console/sessions", json={"token": token})
    await watched.go(f"#token={token}")
    await expect(watched.page.get_by_role("alert").first).to_contain_text("This link was used", timeout=SLOW)
    watched.faults.clear()  # the browser says that there was a 401


async def test_the_api_page_has_contents_and_a_search(watched: Watched) -> None:
    page = watched.page
    await watched.go("docs")
    contents = page.get_by_role("navigation", name="Contents")
    await expect(contents.locator("a[href='#StartTeXMLCallStreaming']")).to_be_visible()
    await watched.shot("docs")
    await page.keyboard.press("/")
    await page.keyboard.type("bidirectional_media_format sample_rate")
    await expect(page.locator(".entry:visible")).to_have_count(1)
    await expect(page.locator("#startToApp")).to_be_visible()
    await expect(page.get_by_role("status")).to_have_text(re.compile(r"^1 of \d+$"))
    await page.evaluate("location.hash = 'webhook-StreamFailed'")
    await expect(page.locator("#webhook-StreamFailed")).to_be_in_viewport()
    await page.keyboard.press("/")
    await page.keyboard.type("xyzzy")
    await expect(page.get_by_role("status")).to_have_text("nothing found")
    await page.keyboard.press("Escape")
    await expect(page.locator("#StartTeXMLCallStreaming")).to_be_visible()
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect(contents.get_by_role("link").first).to_be_hidden()
    await contents.get_by_text("Contents").click()
    await contents.get_by_role("link", name="RecordingStatus").click()
    await expect(page.locator("#webhook-RecordingStatus")).to_be_in_viewport()
    await expect(contents.get_by_role("link").first).to_be_hidden()
