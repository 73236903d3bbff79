"""The documents keep to the code: what they name exists, and they stay short enough to be read."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tokenize import COMMENT, tokenize
from typing import Any
from urllib.parse import parse_qsl

import pytest

import reference
from stream_params import stream_params
from trunkline.calls.views import CALL_EVENTS, CallEvent, CallView, StreamEvent, StreamView
from trunkline.config import CallbackSettings
from trunkline.faces.telnyx.callbacks import call_form, stream_form
from trunkline.faces.telnyx.rest import REST
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.settings import load
from trunkline.streaming import messages
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity
from trunkline.texml import document

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src/trunkline"
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
ROOMS = "api|calls|control|demo|live|media|outbound|phone|sdp|sip|store|streaming|texml|webhooks|workers"
NAMED_FILE = re.compile(rf"`((?:{ROOMS})/[\w/]+\.py)[`:]")


def documents() -> list[Path]:
    return [
        ROOT / name
        for name in (
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "docs/compatibility.md",
            "docs/configuration.md",
            "docs/performance.md",
            "docs/operations/failures.md",
            "docs/operations/log.md",
            "docs/operations/metrics.md",
            *(
                f"docs/reference/{name}.md"
                for name in ("rest", "websocket", "callbacks", "texml", "events", "settings")
            ),
        )
    ]


def pages() -> list[Path]:
    """Every document, records of decisions included."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]


def rows(path: Path) -> list[list[str]]:
    return [cells(line) for line in path.read_text().splitlines() if line.startswith("|")]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    for file, test in NAMED_TEST.findall(path.read_text()):
        assert (ROOT / file).exists(), file
        if test:
            assert re.search(rf"def {test}\(", (ROOT / file).read_text()), f"{file}::{test}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_source_file_that_a_document_names_exists(path: Path) -> None:
    for file in NAMED_FILE.findall(path.read_text()):
        assert (ROOT / "src/trunkline" / file).exists(), file


def test_every_row_of_compatibility_has_a_verdict_and_every_same_its_test() -> None:
    verdicts = [row for row in rows(ROOT / "docs/compatibility.md") if row[0] not in {"feature", "---"}]
    assert len(verdicts) > 30
    for feature, verdict, shown in verdicts:
        assert verdict in {"same", "differs", "absent"}, feature
        assert verdict != "same" or NAMED_TEST.search(shown), feature


def section(name: str) -> str:
    """A section of the map."""
    return (ROOT / "ARCHITECTURE.md").read_text().split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]


def test_every_invariant_names_its_test() -> None:
    invariants = [line for line in section("Invariants").splitlines() if line.startswith("- ")]
    assert len(invariants) > 50
    assert [line for line in invariants if not NAMED_TEST.search(line)] == []


def test_every_class_of_the_glossary_exists() -> None:
    classes = {
        name
        for path in (ROOT / "src/trunkline").rglob("*.py")
        for name in re.findall(r"^class (\w+)|^(\w+) = NewType", path.read_text(), re.MULTILINE)
    }
    defined = {one for found in classes for one in found if one}
    glossary = [row for row in map(cells, section("Glossary").splitlines()) if len(row) == 3][2:]
    assert len(glossary) > 20
    for row in glossary:
        named = re.findall(r"`(\w+)`", row[2])
        assert named, row
        assert set(named) <= defined, row


def test_every_member_that_the_map_names_exists() -> None:
    sources = [path.read_text() for path in (ROOT / "src/trunkline").rglob("*.py")]
    text = (ROOT / "ARCHITECTURE.md").read_text()
    methods = re.findall(r"`(?:[\w/]+\.py: )?([A-Z]\w+)\.(\w+)`", text)
    assert len(methods) > 5
    for owner, method in methods:
        homes = [source for source in sources if re.search(rf"^class {owner}\b", source, re.MULTILINE)]
        assert any(re.search(rf"    (async )?def {method}\(", home) for home in homes), f"{owner}.{method}"
    for file, name in re.findall(r"`([\w/]+\.py): (\w+)`", text):
        assert re.search(rf"^(class|def) {name}\b", (ROOT / "src/trunkline" / file).read_text(), re.MULTILINE), name


@pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("ARCHITECTURE.md", 350), ("docs/performance.md", 60)])
def test_documents_stay_short(name: str, most: int) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= most


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/performance.md"])
def test_no_line_is_longer_than_120_columns(name: str) -> None:
    assert [line for line in (ROOT / name).read_text().splitlines() if len(line) > 120] == []


OUTSIDE = re.compile(
    r"spec[ ]section|\b[Tt]he[ ]spec\b|\bspec[']s|[-]fields[.]txt|\bstreams[.]md|second[-]edit|house[.]md|openapi[.]md"
)
"""Names of what is not in the repository."""
SOURCES = sorted(
    path
    for top in ("src", "tests", "bench")
    for path in (ROOT / top).rglob("*.py*")
    if path.suffix in {".py", ".pyx", ".pxd"}
)


def anchors_of(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them: a repeated title gets a number."""
    seen: Counter[str] = Counter()
    anchors = set()
    for title in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE):
        anchor = re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_refers_only_to_what_is_in_the_repository(path: Path) -> None:
    text = path.read_text()
    assert not OUTSIDE.search(text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


def test_sources_refer_only_to_what_is_in_the_repository() -> None:
    faults = []
    for path in SOURCES:
        text = path.read_text()
        faults += [f"{path.name}: {found[0]}" for found in OUTSIDE.finditer(text)]
        for file, anchor in re.findall(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?", text):
            if not (ROOT / file).exists() or (anchor and anchor not in anchors_of(ROOT / file)):
                faults.append(f"{path.name}: {file}#{anchor}")
        if re.search(r"\b[Ss]ections? \d", text) and not re.search(r"RFC \d|ISO/IEC", text):
            faults.append(f"{path.name}: a section, but of no RFC")
    assert faults == []


RIDDLES = re.compile(r"\b(whom|whoever|somebody|nobody|told|tells? of|go(es)? by|anew|shall)\b", re.IGNORECASE)


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_is_in_plain_words(path: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    assert not [line for line in prose.splitlines() if RIDDLES.search(line)]


SOURCE_RIDDLES = re.compile(
    r"\b(whom|whoever|somebody|nobody|anybody|told|stumbl\w+|strangers?|patience|anew|befell|in vain)\b", re.IGNORECASE
)


def prose(path: Path) -> Iterator[str]:
    """The comments and docstrings of a source, those of constants and fields too."""
    text = path.read_text()
    yield from (token.string for token in tokenize(BytesIO(text.encode()).readline) if token.type == COMMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize("room", ["", *sorted(path.parent.name for path in SRC.glob("*/__init__.py"))])
def test_comments_and_docstrings_are_in_plain_words(room: str) -> None:
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((SRC / room).glob("**/*.py" if room else "*.py"))
        for text in prose(path)
        for line in text.splitlines()
        if SOURCE_RIDDLES.search(line)
    ]
    assert found == []


def test_names_and_prose_of_tests_are_in_plain_words() -> None:
    private = re.compile(SOURCE_RIDDLES.pattern.replace(r"\b", r"(?:\b|_)"), re.IGNORECASE)
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        names = re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), flags=re.MULTILINE)
        found += [f"{path.name}: {name}" for name in names if len(name) > 75 or private.search(name)]
        lines = [line for text in prose(path) for line in text.splitlines()]
        found += [f"{path.name}: {line.strip()}" for line in lines if SOURCE_RIDDLES.search(line)]
    assert found == []


DEFAULT = re.compile(r"`(\w+)\.(\w+)`(?! -)[^|.;`]*?,\s+([\d,]+)( MiB| seconds?)?\s+by\s+default")


def test_the_defaults_that_documents_name_are_those_of_the_settings() -> None:
    settings = load({}, {}, None).settings
    found = [one for path in documents() for one in DEFAULT.findall(path.read_text())]
    assert len(found) > 20
    for section, name, number, unit in found:
        value = int(number.replace(",", "")) * (1024 * 1024 if unit == " MiB" else 1)
        assert getattr(getattr(settings, section), name) == value, f"{section}.{name}"


def test_the_changelog_groups_short_entries_under_added_changed_and_fixed() -> None:
    released = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert released
    for text in released:
        groups = re.findall(r"^### (.*)$", text, re.MULTILINE)
        assert groups == [name for name in ("Added", "Changed", "Fixed") if name in groups]
        assert "\n- " not in text.partition("### ")[0]
        for entry in re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE):
            assert len(entry.splitlines()) <= 2, entry
            assert all(len(line) <= 120 for line in entry.splitlines()), entry


def test_the_examples_of_the_configuration_load_together_and_show_every_setting(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/configuration.md").read_text(), re.DOTALL)
    file = tmp_path / "trunkline.toml"
    file.write_text("\n".join(examples))
    settings = load({}, {}, file).settings
    for tables in (settings.applications, settings.numbers, settings.sip.trunks, settings.sip.phones):
        shown = {field for table in tables for field in table.model_fields_set}
        left_out = {"password_file"} if "password_file" in type(tables[0]).model_fields else {"voice_url", "texml"}
        assert shown | left_out >= set(type(tables[0]).model_fields), "either a file or a password"


# ── docs/operations ─────────────────────────────────────────────────────────────────────────────────────────

LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
CHOSEN_AT_RUN_TIME = {
    "sip/endpoint.py": {
        **dict.fromkeys(("sip_trunk_registered", "sip_trunk_target_up"), "info"),
        **dict.fromkeys(("sip_phone_registered", "sip_phone_unregistered"), "info"),
        **dict.fromkeys(("sip_trunk_registration_failed", "sip_trunk_target_down", "sip_tls_failed"), "warning"),
        **dict.fromkeys(("sip_message_discarded", "sip_request_rejected"), "warning"),
    },
    "control/runner.py": {"stream_started": "info", "stream_stopped": "info", "stream_error": "warning"},
}
"""Files with log calls whose event is no literal, and the events that they make, with their levels."""
LEVELS = {"exception": "error", "log": "any"}
"""Of methods that are called otherwise than their level."""


def logged(path: Path) -> Iterator[tuple[str | None, str]]:
    """The events that a file logs, with their levels; None for one that is chosen at run time."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        for method in ast.walk(node.func):
            if not isinstance(method, ast.Attribute) or method.attr not in LOGS:
                continue
            if ast.unparse(method.value) in {"log", "_log", "self._log()", "structlog.get_logger()"}:
                event = node.args[method.attr == "log"]  # `log` has the level first
                name = event.value if isinstance(event, ast.Constant) and isinstance(event.value, str) else None
                yield name, LEVELS.get(method.attr, method.attr)


def test_the_page_of_the_log_has_exactly_the_events_that_are_logged() -> None:
    events = {("log_lines_dropped", "warning")}  # which `log.py` writes without structlog
    for path in sorted(SRC.rglob("*.py")):
        name = str(path.relative_to(SRC))
        found = set(logged(path))
        chosen = CHOSEN_AT_RUN_TIME.get(name, {})
        assert (None in dict(found)) == bool(chosen), f"{name}: see CHOSEN_AT_RUN_TIME in this file"
        names = {(event, level) for event, level in found if event} | set(chosen.items())
        words = {event for event, _ in names if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", event)}
        assert not words, f"{name}: name these events in snake_case: {words}"
        events |= names
    page = ROOT / "docs/operations/log.md"
    explained: list[tuple[str, str]] = []
    for row in (row for row in rows(page) if len(row) == 5 and "`" in row[0]):
        named, levels = re.findall(r"`([^`]+)`", row[0]), row[1].split(", ")
        explained += zip(named, levels * len(named) if len(levels) == 1 else levels, strict=True)
    assert sorted(dict(explained)) == sorted(event for event, _ in explained), "an event has two rows"
    assert events - set(explained) == set(), "add a row for each, with its level, to docs/operations/log.md"
    assert set(explained) - events == set(), "not logged, or not so: correct docs/operations/log.md"


def test_the_page_of_the_log_says_what_to_do_about_what_is_wrong() -> None:
    page = ROOT / "docs/operations/log.md"
    found = [
        row[0] for row in rows(page) if len(row) == 5 and re.search("warning|error", row[1]) and not row[4].strip()
    ]
    assert found == []


NOT_SCRAPED = {"outbound/client.py", "texml/fetch.py"}


def test_the_page_of_metrics_has_every_event_that_is_counted() -> None:
    page = (ROOT / "docs/operations/metrics.md").read_text()
    counted: set[str] = set()
    for path in SRC.rglob("*.py"):
        if str(path.relative_to(SRC)) not in NOT_SCRAPED:
            counted.update(re.findall(r"counters\[\"(\w+)\"\]", path.read_text()))
    assert len(counted) > 30
    assert [event for event in sorted(counted) if f"`{event}`" not in page] == [], "add to docs/operations/metrics.md"


# ── docs/reference ──────────────────────────────────────────────────────────────────────────────────────────

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDENTITY = StreamIdentity(
    StreamSid("s"), AccountSid("a"), CallSid("c"), CallSessionId("session"), "+13120001234", "+13121230000"
)


def page(name: str) -> str:
    return (ROOT / "docs/reference" / f"{name}.md").read_text()


def shape(value: Any) -> Any:
    """Names in order and types, for the values are examples."""
    return {key: shape(one) for key, one in value.items()} if isinstance(value, dict) else type(value).__name__


def test_pages_that_are_made_are_as_they_would_be_made_now() -> None:
    assert reference.PAGE.read_text() == reference.made()
    assert reference.SETTINGS_PAGE.read_text() == reference.settings_page()


def test_the_rest_page_explains_every_refusal_of_an_operation() -> None:
    explained = page("rest").partition("## Lists")[0]
    refusals = {(error.status, error.code) for operation in REST.operations for error in operation.refusals}
    assert len(refusals) > 8
    assert not [one for one in refusals if "| {} | {} |".format(*one) not in explained]


def examples(text: str) -> tuple[list[Any], list[Any]]:
    """The JSON messages of a text: those to the app, and those from it."""
    found = [json.loads(one) for one in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    to_app = [one for one in found if "stream_id" in one or one["event"] == "connected"]
    return to_app, [one for one in found if one not in to_app]


def test_messages_of_the_websocket_page_are_those_sent_and_understood() -> None:
    to_app, from_app = examples(page("websocket").partition("## Extensions")[0])
    params = stream_params("ws://a/", client_state="aGk=", custom_parameters={"customer": "42"})
    sent = [
        messages.connected(None),
        messages.connected("secret"),
        messages.start(IDENTITY, params, "PCMU", 1, extensions=False),
        messages.dtmf("s", 5, "1", NOON),
        messages.mark("s", 6, b'"greeting"'),
        messages.error("s", Refusal(Problem.MALFORMED, "")),
        messages.stop(IDENTITY, 9),
    ]
    assert [shape(one) for one in to_app if one["event"] != "media"] == [shape(json.loads(one)) for one in sent]
    assert [one["event"] for one in from_app] == ["media", "mark", "clear"]
    for one in from_app:
        assert not isinstance(messages.decode(json.dumps(one).replace("/v7+\\u2026", "").encode()), Refusal), one
    for problem in Problem:
        assert f"| {problem.code} | `{problem.title}` |" in page("websocket")


def test_extensions_of_the_websocket_page_are_those_sent_and_understood() -> None:
    to_app, from_app = examples(page("websocket").partition("## Extensions")[2])
    params = stream_params("ws://a/", mode=BidirectionalMode.RTP, bidirectional_codec="L16")
    sent = [
        messages.start(IDENTITY, params, "PCMU", 1, extensions=True),
        messages.mark("s", 6, b'"greeting"', {"played_ms": 1, "cleared": True}),
        messages.queue("s", 120, 4000),
    ]
    assert [shape(one) for one in to_app] == [shape(json.loads(one)) for one in sent]
    [dtmf] = from_app
    assert isinstance(messages.decode(json.dumps(dtmf).encode(), extensions=True), messages.Dtmf)
    assert isinstance(messages.decode(json.dumps(dtmf).encode(), extensions=False), Refusal)


def test_the_callbacks_page_has_every_field() -> None:
    call = CallView(
        CallSid("c"), AccountSid("a"), CallSessionId("s"), "outbound", "+1", "+2", "", "completed", NOON, NOON,
        answered_at=NOON, ended_at=NOON, codec="PCMU", parent_sid=CallSid("p"),
    )  # fmt: skip
    stream = StreamView(
        StreamSid("s"), AccountSid("a"), CallSid("c"), None, "ws://a/", "inbound_track", "failed", NOON, NOON, None,
        "POST",
    )  # fmt: skip
    forms = [call_form(CallEvent(kind, call, NOON)) for kind in CALL_EVENTS]
    forms.append(stream_form(StreamEvent("stream-error", stream, NOON, "why"), CallbackSettings()))
    fields = {name for form in forms for name, _ in form}
    named = " ".join(row[0] for row in rows(ROOT / "docs/reference/callbacks.md"))
    assert not [name for name in sorted(fields) if f"`{name}`" not in named]
    texts = re.findall(r"```form\n(.*?)```", page("callbacks"), re.DOTALL)
    shown = [[name for name, _ in parse_qsl(one.replace("\n", ""), keep_blank_values=True)] for one in texts]
    call = replace(call, parent_sid=None)
    whole = [stream_form(StreamEvent("stream-error", stream, NOON, "why"), CallbackSettings())]
    whole.append(call_form(CallEvent("completed", call, NOON)))
    assert shown == [[name for name, _ in form] for form in whole]


def _elements() -> dict[str, Mapping[str, Any]]:
    tables = (document._VERBS, document._STREAM, document._TARGETS)
    return {name: row.attributes for table in tables for name, row in table.items()}


def test_the_texml_page_has_every_element_and_attribute() -> None:
    sections = {
        name: text
        for title, text in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", page("texml"), re.DOTALL | re.MULTILINE)
        for name in re.findall(r"<(\w+)>", title)
    }
    undocumented = page("texml").rpartition("## Not documented")[2]
    for name, attributes in _elements().items():
        if f"<{name}>" in undocumented and name not in sections:
            continue
        missing = [attribute for attribute in attributes if f"`{attribute}`" not in sections[name]]
        assert not missing, f"<{name}> has {missing}"
