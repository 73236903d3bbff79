"""The map in ARCHITECTURE.md, held: who may import whom, which files are pure, how large a thing may grow."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "trunkline"
FILES = sorted(SRC.rglob("*.py"))

# Every room may use these; they are values and settings.
EVERYBODY = {"", "errors", "ids", "config", "kernel"}

# What a room may import besides itself. An entry with a dot is one file of another room.
MAY_IMPORT = {
    "outbound": set(),
    "sdp": set(),
    "sip": {"sdp", "outbound.dialler", "outbound.names"},
    "media": {"sdp.values"},
    "streaming": {"media.frames", "media.codecs", "media.dtmf", "media.level", "media.mp3", "outbound"},
    "store": {"calls.views"},
    "webhooks": {"calls.views", "store", "outbound"},
    "calls": {"sdp", "streaming.params"},
    "workers": {"sdp.values", "media", "outbound", "streaming", "log"},
    "texml": {
        *("calls.call", "calls.commands", "calls.events", "calls.recordings", "calls.registry", "calls.views"),
        *("outbound", "streaming.params", "webhooks.payloads", "webhooks.signing"),
    },
    "api": {"calls.commands", "calls.control", "calls.diagnosis", "calls.views", "streaming.params"},
}

# The files that touch the world: sockets, clocks, randomness, other rooms' drivers.
DRIVERS = {
    "api/server.py",
    "api/app.py",
    "calls/applications.py",
    "calls/runner.py",
    "calls/service.py",
    "media/engine.py",
    "outbound/client.py",
    "outbound/connection.py",
    "outbound/dialler.py",
    "outbound/line.py",
    "outbound/names.py",
    "sip/certificates.py",
    "sip/connections.py",
    "sip/endpoint.py",
    "sip/lookups.py",
    "sip/transports.py",
    "store/store.py",
    "store/writer.py",
    "streaming/certificates.py",
    "streaming/connection.py",
    "streaming/dialling.py",
    "streaming/socket.py",
    "texml/conductor.py",
    "texml/fetch.py",
    "texml/sounds.py",
    "texml/voice.py",
    "webhooks/delivery.py",
    "workers/decoder.py",
    "workers/files.py",
    "workers/limits.py",
    "workers/link.py",
    "workers/parent.py",
    "workers/pool.py",
    "workers/process.py",
}
DRIVERS_MAY_IMPORT = {
    "calls/runner.py": {"sip", "workers", "store", "webhooks"},
    "calls/applications.py": {"store"},
    "calls/service.py": {"store"},
}
IMPURE = {"asyncio", "socket", "threading", "time", "random", "secrets", "select", "selectors", "subprocess", "uvloop"}
OUTSIDE_THE_ROOMS = {"demo"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    return {name.removeprefix("trunkline").removeprefix(".") for name in imports(path) if name.startswith("trunkline")}


def room_files() -> list[Path]:
    return [path for path in FILES if path.parent != SRC and path.parts[len(SRC.parts)] not in OUTSIDE_THE_ROOMS]


def name_of(path: Path) -> str:
    return str(path.relative_to(SRC))


@pytest.mark.parametrize("path", room_files(), ids=name_of)
def test_a_room_imports_only_what_its_row_allows(path: Path) -> None:
    room = path.parts[len(SRC.parts)]
    allowed = EVERYBODY | {room} | MAY_IMPORT[room] | DRIVERS_MAY_IMPORT.get(name_of(path), set())
    wrong = {
        name
        for name in ours(path)
        if not any(name == entry or (entry and name.startswith(entry + ".")) for entry in allowed)
        and not any(entry.startswith(name + ".") for entry in allowed)
        and name not in {"USER_AGENT", "__version__"}
        and not any(name.startswith(top + ".") for top in ("errors", "ids", "config"))
    }
    assert not wrong


@pytest.mark.parametrize("path", room_files(), ids=name_of)
def test_only_the_named_drivers_touch_the_world(path: Path) -> None:
    if name_of(path) in DRIVERS:
        return
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE


def test_every_named_driver_exists() -> None:
    assert {name_of(path) for path in room_files()} >= DRIVERS


def test_there_are_no_import_cycles() -> None:
    modules = {name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path for path in FILES}
    graph = {module: {name for name in ours(path) if name in modules and name} for module, path in modules.items()}
    TopologicalSorter({module: found - {module} for module, found in graph.items()}).prepare()


INTERFACES = sorted(path for path in SRC.rglob("*.pxd") if path.with_suffix(".py").exists())


def slots(path: Path) -> dict[str, set[str]]:
    """The attributes of each class of a module that names them."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
                    found[node.name] = set(ast.literal_eval(statement.value))
    return found


def declared(path: Path) -> dict[str, set[str]]:
    """The attributes of each class of an interface."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        if begun := re.match(r"cdef class (\w+):", line):
            attributes = found.setdefault(begun[1], set())
        elif stated := re.match(r"    cdef (?:public )?(?:long long|[\w.]+) ([^(]*)$", line):
            attributes.update(stated[1].split(", "))
    return found


@pytest.mark.parametrize("path", INTERFACES, ids=name_of)
def test_a_compiled_class_has_the_attributes_of_its_python(path: Path) -> None:
    wanted = slots(path.with_suffix(".py"))
    for name, attributes in declared(path).items():
        assert attributes == wanted.get(name, attributes), f"{name}: __slots__ and {path.name} differ"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_grows_too_large(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_types_are_never_silenced(path: Path) -> None:
    assert "type: " + "ignore" not in path.read_text()
