"""The code on pages, and what a shell line on them must fulfil: known commands, options, settings, paths and fields.

A line is split as a shell does it; variables that the block sets are filled in. Each command has its own check here; a
command that has none is refused, so that each new one gets one.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import typer

from trunkline.cli import app
from trunkline.cli_settings import parted
from trunkline.faces.telnyx.rest import OPERATIONS
from trunkline.settings import leaves, load, parse_flags

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    kind: str
    """The language behind the fence; empty without one."""
    code: str

    @property
    def name(self) -> str:
        """For the ids of tests."""
        return f"{self.page}: {self.code.strip().splitlines()[0][:50]}"


_SPACE = "\x1f"
"""Of what stands in `$(…)`, which is one word."""


def pages() -> list[Path]:
    """All pages with code for readers."""
    found = {*ROOT.glob("*.md"), *(path for top in ("docs", "bench", "deploy") for path in ROOT.glob(f"{top}/**/*.md"))}
    return sorted(found)


def blocks() -> list[Block]:
    """Every block of every page."""
    return [
        Block(str(page.relative_to(ROOT)), kind, code)
        for page in pages()
        for kind, code in BLOCK.findall(page.read_text())
    ]


def typed(block: Block) -> str:
    """What is typed in a shell: all of a `sh` block, the lines behind the prompt of a `console` block."""
    if block.kind == "sh":
        return block.code
    return "\n".join(line[2:] for line in block.code.splitlines() if line.startswith("$ "))


def commands(shell: str) -> Iterator[list[str]]:
    """The simple commands of a shell text, as words. Here documents are left out."""
    text = re.sub(r"<<(\w+)\n.*?^\1$", "", shell, flags=re.DOTALL | re.MULTILINE).replace("\\\n", " ")
    text = re.sub(r"\$\([^()]*\)", lambda found: found[0].replace(" ", _SPACE), text)
    variables: dict[str, str] = {}
    lexer = shlex.shlex(_joined(text), posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    command: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set(";&|"):
            command.append(
                re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), word.replace(_SPACE, " "))
            )
        elif command:
            while command and (setting := re.fullmatch(r"(\w+)=(.*)", command[0])):
                variables[setting[1]] = setting[2]
                command.pop(0)
            if command:
                yield command
            command = []


def _joined(text: str) -> str:
    """Line breaks outside of quotes as `;`."""
    parts = re.split(r"('[^']*')", text)  # no page has a line break between double quotes
    return "".join(part if at % 2 else part.replace("\n", " ; ") for at, part in enumerate(parts))


def check_shell(shell: str, page: str) -> None:
    """Raises AssertionError, or what the parser of the command raises."""
    text = re.sub(r"(^|\s)#.*$", "", shell, flags=re.MULTILINE)
    found = list(commands(text))
    assert found, f"{page}: no command"
    for words in found:
        name = words[0].rpartition("/")[2]
        assert name in CHECKS, f"{page}: no check for {name!r}"
        CHECKS[name](words[1:])


def check_trunkline(arguments: Sequence[str]) -> None:
    """The command exists, takes these arguments, and they are valid settings where they are settings."""
    command: Any = typer.main.get_command(app)
    context, words = None, list(arguments)
    while hasattr(command, "commands"):
        context = command.make_context("trunkline", words, parent=context, resilient_parsing=True)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        assert rest[0] in command.commands, f"no command {rest[0]!r}"
        command, words = command.commands[rest[0]], rest[1:]
    context = command.make_context(command.name, words, parent=context)
    if context.args:
        assert all(name in leaves() for name in parse_flags(context.args)), context.args
        load(parse_flags(context.args), {}, None, base={})


def check_mentioned(arguments: Sequence[str]) -> None:
    """As text mentions a command: it exists, and so do the options."""
    command: Any = typer.main.get_command(app)
    words = list(arguments)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        choice = words.pop(0).split("|")
        assert set(choice) <= set(command.commands), f"no command {choice}"
        command = command.commands[choice[0]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "--install-completion", "--show-completion", "--config"}
    _, others = parted(words)
    for word in others:
        if word.startswith("--") and word != "--":
            assert word.partition("=")[0] in known, f"trunkline {' '.join(arguments)}: no option {word}"


_PATHS = ("/healthz", "/readyz", "/readyz/api", "/metrics", "/openapi.json", "/asyncapi.json", "/docs", "/")


def check_curl(arguments: Sequence[str]) -> None:
    """The path is one that is served, by that method, and the body's fields are the operation's."""
    urls, fields, method = [], {}, "GET"
    rest = iter(arguments)
    for word in rest:
        if word in ("-H", "-o", "--max-time"):
            next(rest)
        elif word in ("-X", "--request"):
            method = next(rest)
        elif word in ("-d", "--data", "--data-urlencode"):
            name, _, value = next(rest).partition("=")
            fields[name], method = value, "POST"
        elif re.fullmatch(r"-[sSOJfN]+", word):
            continue
        else:
            assert not word.startswith("-"), word
            urls.append(word)
    [url] = urls
    url = url.replace("$TELNYX_BASE_URL", "http://127.0.0.1:8080/v2")
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if parts.path in _PATHS:
        return
    [operation] = [one for one in OPERATIONS if one.method == method and _matches(one.path, parts.path)]
    body: Any = (operation.body or {}).get("properties", {})
    assert set(fields) <= set(body), f"{operation.id} has no {set(fields) - set(body)}"
    assert {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} <= set(operation.query or {})


def _matches(described: str, path: str) -> bool:
    pattern = re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(described.removesuffix(".json")))
    return re.fullmatch(pattern, path.removesuffix(".json")) is not None


def check_make(arguments: Sequence[str]) -> None:
    """The targets exist."""
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(arguments) <= set(targets), arguments


def check_python(arguments: Sequence[str]) -> None:
    """A module that comes with Python, or a file that a page has: an example, or `bot.py` of the quick start."""
    if arguments[0] == "-m":
        assert arguments[1] == "venv"
        return
    file = arguments[0].removeprefix("examples/")
    assert file == "bot.py" or (ROOT / "examples" / file).exists(), file


def check_uvicorn(arguments: Sequence[str]) -> None:
    """The app is an example."""
    module, _, name = arguments[0].partition(":")
    assert re.search(rf"^{name} = ", (ROOT / "examples" / f"{module}.py").read_text(), re.MULTILINE)


def check_pip(arguments: Sequence[str]) -> None:
    """Installs something."""
    assert arguments[0] == "install"
    assert len(arguments) > 1


def check_eval(arguments: Sequence[str]) -> None:
    """Of what one of our commands prints."""
    [text] = arguments
    inner = re.fullmatch(r"\$\(trunkline (.*)\)", text)
    assert inner
    check_trunkline(shlex.split(inner[1]))


def check_source(arguments: Sequence[str]) -> None:
    """Of a virtual environment."""
    assert arguments[0].endswith("/bin/activate")


def check_export(arguments: Sequence[str]) -> None:
    """Variables that a setting or an example reads."""
    read = "".join(path.read_text() for path in (ROOT / "examples").iterdir())
    for argument in arguments:
        name = argument.partition("=")[0]
        setting = name.removeprefix("TRUNKLINE_").lower().replace("__", ".")
        assert setting in leaves() or f'"{name}"' in read or f"'{name}'" in read or "$(" in argument, name


def check_openssl(arguments: Sequence[str]) -> None:
    """Run, in tests/test_code_blocks.py; or a secret."""
    assert arguments[0] in ("req", "x509", "rand")


def check_docker(arguments: Sequence[str]) -> None:
    """Of Compose; what runs in a container is checked too."""
    assert arguments[0] == "compose"
    if arguments[1] == "exec":
        check_program(arguments[3:])


def check_sudo(arguments: Sequence[str]) -> None:
    """The command behind it, `-u USER` left out."""
    check_program(arguments[2:] if arguments[0] == "-u" else arguments)


def check_program(words: Sequence[str]) -> None:
    """Any of the commands that pages have."""
    CHECKS[words[0].rpartition("/")[2]](words[1:])


def check_system(arguments: Sequence[str]) -> None:
    """A program of the system; files of the repository that it is given exist."""
    assert all((ROOT / word).exists() for word in arguments if word.startswith("deploy/"))


CHECKS: Mapping[str, Any] = {
    "trunkline": check_trunkline,
    "curl": check_curl,
    "make": check_make,
    "python": check_python,
    "python3": check_python,
    "node": check_python,
    "uvicorn": check_uvicorn,
    "pip": check_pip,
    "eval": check_eval,
    ".": check_source,
    "export": check_export,
    "openssl": check_openssl,
    "docker": check_docker,
    "sudo": check_sudo,
    **dict.fromkeys(("chmod", "echo", "install", "mkdir", "systemctl", "useradd"), check_system),
}
