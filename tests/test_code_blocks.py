"""Every block of code on every page: run, or read by what reads its kind. A kind without a check here is refused."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import yaml

import code_blocks
import examples
from code_blocks import ROOT, Block, check_mentioned, check_shell, pages, typed
from sent import check_form
from trunkline.settings import load
from trunkline.texml import document

BLOCKS = code_blocks.blocks()
RUN_ELSEWHERE = {
    "docs/guide/testing.md": re.compile(r"# (test_bot|conftest)\.py\n"),  # tests/testing/test_plugin.py
    "docs/guide/from-telnyx.md": re.compile(r"import os\n"),  # tests/peers/test_pipecat.py
}
"""Pages whose Python another test runs, and how those blocks begin."""
TEXT = {
    "ARCHITECTURE.md": 2,
    "README.md": 1,
    "docs/index.md": 1,
    "docs/guide/calling.md": 1,
    "docs/guide/openai-realtime.md": 1,
    "docs/guide/testing.md": 1,
    "docs/operations/sip-trace.md": 1,
    "docs/reference/rest.md": 3,
}
"""Pages with drawings, or with what a program prints; and how many there are."""


def of(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def each(*kinds: str) -> pytest.MarkDecorator:
    found = of(*kinds)
    assert found
    return pytest.mark.parametrize("block", found, ids=lambda block: block.name)


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert len(BLOCKS) > 100
    checked = {"sh", "console", "python", "js", "yaml", "json", "jsonl", "toml", "xml", "form", "text"}
    assert [block.name for block in BLOCKS if block.kind not in checked] == []
    fences = sum(len(re.findall(r"^ *(?:```|~~~)", page.read_text(), re.MULTILINE)) for page in pages())
    assert fences == 2 * len(BLOCKS), "a fence that is indented, or never closed, is not seen by these tests"
    found = [block.page for block in of("text")]
    assert {page: found.count(page) for page in found} == TEXT


@each("sh", "console")
def test_what_is_typed_in_a_shell_exists(block: Block) -> None:
    check_shell(typed(block), block.page)


@pytest.mark.process
@each("sh", "console")
def test_what_is_typed_in_a_shell_is_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=typed(block), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_the_private_certificates_of_the_page_are_valid(tmp_path: Path) -> None:
    [block] = [one for one in of("sh") if one.page == "docs/platforms.md"]
    verify = "openssl verify -x509_strict -CAfile ca.pem bot.pem"
    done = subprocess.run(
        ["bash", "-e", "-c", f"{block.code}\n{verify}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("bot.pem: OK\n")


@each("python", "js", "yaml")
def test_programs_are_examples_or_run_by_another_test(block: Block) -> None:
    first, _, code = block.code.partition("\n")
    if name := re.fullmatch(r"(?:#|//) examples/(.+)", first):
        assert code == (ROOT / "examples" / name[1]).read_text()
    elif not (beginning := RUN_ELSEWHERE.get(block.page)) or not beginning.match(block.code):
        assert block.kind == "python", "run it here, or list it"
        import telnyx

        exec(block.code, {"telnyx": telnyx, "API_KEY": "key"})
    if block.kind == "yaml":
        assert yaml.safe_load(block.code)


def test_the_one_line_of_the_sdk_is_run_here() -> None:
    rest = [
        block.page
        for block in of("python")
        if not block.code.startswith("# examples/")
        and not ((beginning := RUN_ELSEWHERE.get(block.page)) and beginning.match(block.code))
    ]
    assert rest == ["docs/guide/from-telnyx.md"]
    assert {name for name, _ in examples.blocks()} >= {"echo_bot.py"}


@each("json", "jsonl")
def test_json_is_json(block: Block) -> None:
    for text in block.code.splitlines() if block.kind == "jsonl" else [block.code]:
        json.loads(text)


@pytest.mark.parametrize("page", sorted({block.page for block in of("toml")}))
def test_settings_of_a_page_are_valid_together(page: str, tmp_path: Path) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text("\n".join(block.code for block in of("toml") if block.page == page))
    load({}, {}, file)


@each("xml")
def test_documents_are_read_without_a_warning(block: Block) -> None:
    read = document.parse(block.code)
    assert read.verbs
    assert read.warnings == ()


@each("form")
def test_forms_are_requests_that_are_described(block: Block) -> None:
    check_form(dict(parse_qsl(block.code.replace("\n", ""), keep_blank_values=True, strict_parsing=True)))


MENTIONED = re.compile(r"`trunkline ([a-z][^`]*)`", re.DOTALL)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_within_sentences_exist(page: Path) -> None:
    prose = code_blocks.BLOCK.sub("", page.read_text())
    for text in MENTIONED.findall(prose):
        check_mentioned(shlex.split(text))


@pytest.mark.parametrize(
    ("shell", "wrong"),
    [
        ("trunkline dev ws://a --no-such-option 1", "no such setting"),
        ("trunkline nothing", "nothing"),
        ("trunkline serve --http.port many", "http.port"),
        ("curl localhost:8080/v2/texml/Accounts/a/Cals", "unpack"),
        ("curl localhost:8080/v2/texml/Accounts/a/Calls/b/Streams.json -d Uri=x", "Uri"),
        ("make coffee", "coffee"),
        ("python nothing.py", "nothing"),
        ("cat file", "cat"),
    ],
)
def test_a_wrong_line_is_noticed(shell: str, wrong: str) -> None:
    with pytest.raises(Exception, match=wrong):
        check_shell(shell, "a page")
