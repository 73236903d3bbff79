"""The map in ARCHITECTURE.md, checked: who may import what, which files are pure, how large a thing may grow."""

import ast
import functools
import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "trunkline"
FILES = sorted(SRC.rglob("*.py"))

ROOM = re.compile(r"^\| (?:`(\w+)/`)? *\|[^|]*\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
"""A row of ARCHITECTURE.md's table of rooms: what it holds, its drivers, what it may import. Without a name it
continues the row above it."""


def rooms() -> dict[str, tuple[set[str], set[str]]]:
    """The drivers of each room as paths, and what it may import: rooms, or with a dot a file or wing of one."""
    text = (SRC.parent.parent / "ARCHITECTURE.md").read_text()
    found: dict[str, tuple[set[str], set[str]]] = {}
    room = ""
    for name, drivers, imported in ROOM.findall(text.partition("## Rooms\n")[2].partition("\n## ")[0]):
        room = name or room
        its_drivers, its_imports = found.setdefault(room, (set(), set()))
        its_drivers |= {f"{room}/{driver}.py" for driver in re.findall(r"`([\w/]+)`", drivers)}
        its_imports |= set(re.findall(r"`([\w.]+)`", imported))
    return found


# Every room may use these; they are values and settings.
EVERYBODY = {"", "errors", "ids", "config", "setting_tables", "confinement", "portable", "codecs", "shares", "speedups"}
EVERYBODY |= {"ci"}
ROOMS = rooms()
DRIVERS = {driver for drivers, _ in ROOMS.values() for driver in drivers}
IMPURE = {
    *("asyncio", "concurrent", "socket", "ssl", "threading", "multiprocessing", "select", "selectors", "signal"),
    *("subprocess", "os", "shutil", "tempfile", "time", "random", "secrets", "uuid", "uvloop", "aiosqlite", "asyncpg"),
    *("h11", "dns", "picows", "uvicorn", "structlog", "logging"),
}
"""Modules that reach the world: network, disk, processes, clocks, timers, randomness, the log."""
IMPURE_CALLS = re.compile(
    r"open|(\w+\.)?(datetime|date)\.(now|today|utcnow)"
    r"|.*\.(read_text|read_bytes|write_text|write_bytes|mkdir|unlink|iterdir)"
)
"""Calls that read a clock or touch the disk."""
OUTSIDE_THE_ROOMS = {"demo", "testing"}


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of a file's syntax tree: parsed and walked once, however many tests look at it."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
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
    allowed = EVERYBODY | {room, "sockets"} | ROOMS[room][1]
    wrong = {
        name
        for name in ours(path)
        if not any(name == entry or (entry and name.startswith(entry + ".")) for entry in allowed)
        and not any(entry.startswith(name + ".") for entry in allowed)
        and name not in {"USER_AGENT", "__version__"}
        and not any(
            name.startswith(top + ".") for top in ("errors", "ids", "config", "setting_tables", "codecs", "shares")
        )
    }
    assert not wrong


@pytest.mark.parametrize("path", room_files(), ids=name_of)
def test_only_the_named_drivers_touch_the_world(path: Path) -> None:
    if name_of(path) in DRIVERS:
        return
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE
    assert not {name.split(".")[0] for name in ours(path)} & {"confinement", "portable"}
    called = {ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
    assert not {name for name in called if IMPURE_CALLS.fullmatch(name)}


def test_system_calls_of_the_packet_path_are_made_by_two_files_alone() -> None:
    assert {name_of(path) for path in FILES if "sockets" in ours(path)} == {"media/engine.py", "streaming/socket.py"}


def test_every_named_driver_exists() -> None:
    assert {name_of(path) for path in room_files()} >= DRIVERS


def graph(box_of: Callable[[str], str]) -> dict[str, set[str]]:
    """Which boxes import which, where a module's name gives its box."""
    modules = {name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path for path in FILES}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        box = box_of(module)
        found.setdefault(box, set()).update(box_of(name) for name in ours(path) if name in modules and name)
    return {box: others - {box} for box, others in found.items()}


@pytest.mark.parametrize("depth", [1, 2, 3], ids=["rooms", "wings", "modules"])
def test_no_arrow_goes_up(depth: int) -> None:
    TopologicalSorter(graph(lambda module: ".".join(module.split(".")[:depth]))).prepare()


INTERFACES = sorted(path for path in SRC.rglob("*.pxd") if path.with_suffix(".py").exists())


def slots(path: Path) -> dict[str, set[str]]:
    """The attributes of each class of a module that names them."""
    found = {}
    for node in nodes(path):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
                    found[node.name] = set(ast.literal_eval(statement.value))
    return found


def declared(path: Path) -> dict[str, set[str]]:
    """The attributes of each class of an interface."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        if begun := re.match(r"cdef class (\w+)(?:\(.+\))?:", line):
            attributes = found.setdefault(begun[1], set())
        elif stated := re.match(r"    cdef (?:public )?(?:long long|[\w.]+) ([^(]*)$", line):
            attributes.update(stated[1].split(", "))
    return found


@pytest.mark.parametrize("path", INTERFACES, ids=name_of)
def test_a_compiled_class_has_the_attributes_of_its_python(path: Path) -> None:
    wanted = slots(path.with_suffix(".py"))
    for name, attributes in declared(path).items():
        assert attributes == wanted.get(name, attributes), f"{name}: __slots__ and {path.name} differ"


@pytest.mark.parametrize("path", [path for path in INTERFACES if path.parts[len(SRC.parts)] == "media"], ids=name_of)
def test_each_attribute_of_a_compiled_class_has_a_line_of_its_own(path: Path) -> None:
    for name in declared(path):
        [lines] = [
            ast.literal_eval(statement.value)
            for node in ast.walk(ast.parse(path.with_suffix(".py").read_text()))
            if isinstance(node, ast.ClassDef) and node.name == name
            for statement in node.body
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__"
        ]
        assert all(line.endswith(".") for line in lines.values()), name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_grows_too_large(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 600
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_types_are_never_silenced(path: Path) -> None:
    assert "type: " + "ignore" not in path.read_text()


FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def runs(path: Path) -> bool:
    """Whether a module has a function that is more than a docstring. One that only declares values, protocols and rows
    has nothing to run: the tests of those that use it hold it."""
    functions = [node for node in nodes(path) if isinstance(node, FUNCTION)]
    return any(len(function.body) > 1 or ast.get_docstring(function) is None for function in functions)


NAMELESS = {"__init__.py", "__main__.py"}
"""Files without a name of their own to have a test of."""


@pytest.mark.parametrize("path", [path for path in FILES if path.name not in NAMELESS], ids=name_of)
def test_every_module_has_a_test_file_of_its_name(path: Path) -> None:
    if runs(path) and "migrations" not in path.parts:  # tests/store/test_schema.py runs those one after the other
        assert (Path(__file__).parent / path.relative_to(SRC).parent / f"test_{path.name}").exists()


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name_of(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
