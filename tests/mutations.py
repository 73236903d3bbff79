"""Changes the code at random, one place at a time, and counts how often the room's own tests notice.

    python tests/mutations.py [--count 150] [--seed 11] [--room sdp] [--jobs 2]

Run by hand (`make mutations`, some 20 minutes). Mutates the pure files of the rooms, as tests/test_architecture.py
lists them, and all of `control/`, in copies of `src`; runs them as Python. A mutation is killed if a test of
`tests/<room>/` fails, cannot be collected or exceeds its timeout: first the test file of the module's name, then the
room's others, then those with hypothesis again with all their examples. Exits with 1 below `WANTED`.

One mutation is one of these, at a place chosen at random:

- compare: `<` for `<=` and back, `>` for `>=`, `==` for `!=`, `is` for `is not`, `in` for `not in`
- logic: `and` for `or` and back; `not x` for `x`; the condition of `if`, `while` and `a if b else c` negated
- arithmetic: `+` for `-`, `*` for `//`, `/` for `*`, `%` for `*`, `<<` for `>>`, `&` for `|` and back; `+=` for `-=`
- constant: a number plus or minus 1; a text or bytes emptied, an empty one filled; True for False
- call: `min` for `max`, `any` for `all`
- statement: a call, assignment, `del` or `raise` in a function dropped; `break` for `continue`
- return: `return None` instead of a value, unless that is `False`, 0 or empty

Left alone, as no behaviour: docstrings, annotations, unions of types, `Literal[...]`, `assert`, decorators,
`__slots__`, `__all__`, the flags of a class, `TypeVar`, f-strings, `strict=` of `zip`, what is under `TYPE_CHECKING`.
"""

import argparse
import ast
import difflib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from test_architecture import DRIVERS, SRC, name_of, room_files

WANTED = 0.93
TESTS = Path(__file__).parent
FEW = ("--hypothesis-profile", "few")

_SRTP_DIRECTION = "libsrtp only reports the other use of a direction's session, by its event handler"
_KIND = "kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND"
_OLD_COUNTS = "counts before the window are refused before their bits are looked at; the mask bounds memory alone"
_LATER = "of another sequence: any number from 1 to REPEATED says that the packet was sent after the others"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "control/captures.py",
        'newline = file.read(end - begin).rfind(b"\\n")',
        'newline = file.read((end + begin)).rfind(b"\\n")',
    ): "reads again what is behind, where no line ends",
    (
        "media/audio/recorder.py",
        "self._limit = inf",
        "pass",
    ): "nothing looks at it before the first frame, which sets it",
    ("media/inbound.py", 'self.codec = ""', 'self.codec = "XX"'): "`configure` sets it, before anything looks at it",
    ("media/srtp.py", _KIND, _KIND.replace("if inbound", "if (not (inbound))")): _SRTP_DIRECTION,
    (
        "streaming/upgrade.py",
        "new = max(0, len(self._came) + 1 - _LONGEST_END)",
        "new = max(0, (len(self._came) - 1) - _LONGEST_END)",
    ): "two bytes more are searched again",
    (
        "media/rtp/rtcp.py",
        "fraction = (lost_now << 8) // expected_now if expected_now > 0 and lost_now > 0 else 0",
        "fraction = (lost_now << 8) // expected_now if (expected_now >= 0) and lost_now > 0 else 0",
    ): "where none was expected, none is lost",
    (
        "media/audio/content.py",
        "if at < 20 or len(head) < at + _WAV_FORMAT.size:",
        "if at < (19) or len(head) < at + _WAV_FORMAT.size:",
    ): "found from byte 12 on, so at 20 or later; or not at all, 7",
    ("streaming/files.py", "file.size = 0", "pass"): "a decoder answers once, and not what was cancelled",
    **{("phone/core.py", "LegId(1),", f"LegId({other}),"): "a phone has one leg" for other in ("2", "(0)")},
    (
        "apps/judge.py",
        "near = difflib.get_close_matches(sent.lower(), FROM_APP, 1, 0.5)",
        "near = difflib.get_close_matches(sent.lower(), FROM_APP, 2, 0.5)",
    ): "the first one is taken",
    **{
        ("apps/export.py", "self.ms = 0.0", other): "each message sets the clock before it is read"
        for other in ("pass", "self.ms = 1.0", "self.ms = (-1.0)")
    },
    ("apps/export.py", "return datetime.fromtimestamp(self.now(), UTC)", "return None"): "of keys, and none is pressed",
    ("sip/message/nonces.py", "if behind >= 0:", "if (behind > 0):"): "the newest count itself is refused before",
    ("sip/server_transaction.py", "if status < 300:", "if status < (299):"): "nothing responds with 299",
    (
        "sip/transactions.py",
        'transaction = self._client.get((response.via.params.get("branch", ""), method))',
        'transaction = self._client.get((response.via.params.get("branch", "XX"), method))',
    ): "no transaction of ours has either branch",
    ("streaming/playback.py", "break", "continue"): "`_front` has what it wants, and takes no byte of further chunks",
    ("media/rtp/presses.py", "return 1", "return 2"): _LATER,
    (
        "media/rtp/presses.py",
        "return step if step >= -MAX_MISORDER else 1",
        "return step if step >= -MAX_MISORDER else 2",
    ): _LATER,
    **{
        (
            "media/srtp.py",
            f"self._{whose} = session(keys.suite, keys.{whose}, inbound={inbound})",
            f"self._{whose} = session(keys.suite, keys.{whose}, inbound={not inbound})",
        ): _SRTP_DIRECTION
        for whose, inbound in (("ours", False), ("theirs", True))
    },
    **{
        ("sip/message/nonces.py", "uses.seen &= (1 << WINDOW) - 1", other): _OLD_COUNTS
        for other in ("pass", "uses.seen &= ((1 >> WINDOW)) - 1")
    },
}
"""Mutations that change no behaviour: file, the line's text, what it becomes -> why."""

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Pow: ast.Mult,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_DROPPED = (ast.Assign, ast.AugAssign, ast.Delete, ast.Raise, ast.Expr)


class Mutation(NamedTuple):
    """One place of one file and what it may become."""

    path: Path
    start: int
    """Bytes from the file's begin."""
    end: int
    instead: tuple[str, ...]


class Sites(ast.NodeVisitor):
    """Finds every place of a file that can be mutated."""

    def __init__(self, path: Path) -> None:
        self.found: list[Mutation] = []
        self._path = path
        self._in_function = False
        text = path.read_bytes()
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self.visit(ast.parse(text))

    def _add(self, node: ast.expr | ast.stmt, *instead: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        self.found.append(Mutation(self._path, start, end, instead))

    # ── what is left alone ───────────────────────────────────────────────────────────────────────────────────

    def visit_Assert(self, node: ast.Assert) -> None:
        """For the type checker."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Its value, not its annotation."""
        if node.value is not None:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Not that of a `Literal`."""
        if ast.unparse(node.value) != "Literal":
            self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> None:
        """Defaults, not annotations."""
        for default in (*node.defaults, *node.kw_defaults):
            if default is not None:
                self.visit(default)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Its body, not its bases, flags and decorators; its tag on the wire too."""
        for keyword in node.keywords:
            if not (isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)):
                self.visit(keyword.value)
        inside, self._in_function = self._in_function, False
        for statement in node.body:
            self.visit(statement)
        self._in_function = inside

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Its defaults and its body."""
        self.visit(node.args)
        inside, self._in_function = self._in_function, True
        for statement in node.body:
            self.visit(statement)
        self._in_function = inside

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """The parser of Python 3.11 gives no positions inside."""

    def visit_keyword(self, node: ast.keyword) -> None:
        """`strict=` of `zip` asserts."""
        if node.arg != "strict":
            self.visit(node.value)

    # ── what is mutated ──────────────────────────────────────────────────────────────────────────────────────

    def generic_visit(self, node: ast.AST) -> None:
        """Statements that can be dropped, and all below."""
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__slots__", "__all__"):
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        if self._in_function and isinstance(node, _DROPPED):
            self._add(node, "pass")
        super().generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """One operator is another."""
        for index, operator in enumerate(node.ops):
            changed = [*node.ops[:index], _COMPARE[type(operator)](), *node.ops[index + 1 :]]
            self._add(node, f"({ast.unparse(ast.Compare(node.left, changed, node.comparators))})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """`and` is `or`."""
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._add(node, f"({ast.unparse(ast.BoolOp(other, node.values))})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """`not` is left out."""
        if isinstance(node.op, ast.Not):
            self._add(node, f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        """The condition is the contrary."""
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if not isinstance(node.test, ast.Constant | ast.Compare):
            self._add(node.test, f"(not ({ast.unparse(node.test)}))")
        self.generic_visit(node)

    visit_While = visit_IfExp = visit_If  # noqa: N815

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """One operator is another."""
        union = isinstance(node.op, ast.BitOr) and not self._in_function
        if type(node.op) in _ARITHMETIC and not union:
            changed = ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
            self._add(node, f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """One operator is another, or it is left out."""
        if type(node.op) in _ARITHMETIC:
            changed = ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
            self._add(node, ast.unparse(changed), "pass")
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Another number, text or truth."""
        value = node.value
        if isinstance(value, bool):
            self._add(node, repr(not value))
        elif isinstance(value, int | float):
            self._add(node, repr(value + 1), f"({value - 1!r})")
        elif isinstance(value, str):
            self._add(node, '""' if value else '"XX"')
        elif isinstance(value, bytes):
            self._add(node, 'b""' if value else 'b"XX"')

    def visit_Call(self, node: ast.Call) -> None:
        """`min` is `max`. The name of a `TypeVar` is for people."""
        if ast.unparse(node.func) == "TypeVar":
            return
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            self._add(node.func, _CALLS[node.func.id])
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        """Nothing comes back; where that was false already, another constant is enough of a change."""
        if node.value is not None and not (isinstance(node.value, ast.Constant) and not node.value.value):
            self._add(node, "return None")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        """`break` is `continue`."""
        self._add(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        """`continue` is `break`."""
        self._add(node, "break")


class Mutant(NamedTuple):
    """A file with one mutation."""

    path: Path
    line: int
    before: str
    text: str

    @property
    def diff(self) -> str:
        """The lines that differ."""
        lines = difflib.unified_diff(self.before.splitlines(), self.text.splitlines(), lineterm="", n=0)
        return "\n".join(f"    {line}" for line in list(lines)[3:])

    @property
    def equivalent(self) -> bool:
        """Whether it is in the table."""
        signs = self.diff.splitlines()
        old, new = ("".join(line[5:].strip() for line in signs if line[4] == sign) for sign in "-+")
        return (name_of(self.path), old, new) in EQUIVALENT


def picked(count: int, seed: int, room: str) -> list[Mutant]:
    """So many mutants, the same for the same seed and the same code."""
    paths = [path for path in room_files() if name_of(path) not in DRIVERS or name_of(path).startswith("control/")]
    sites = [site for path in paths if name_of(path).startswith(room) for site in Sites(path).found]
    chance = random.Random(seed)
    chance.shuffle(sites)
    chosen: list[Mutant] = []
    for site in sites:
        before = site.path.read_bytes()
        text = before[: site.start] + chance.choice(site.instead).encode() + before[site.end :]
        mutant = Mutant(site.path, before[: site.start].count(b"\n") + 1, before.decode(), text.decode())
        if not mutant.equivalent:
            chosen.append(mutant)
        if len(chosen) == count:
            break
    return chosen


def stages(path: Path, root: Path) -> Iterator[tuple[list[Path], tuple[str, ...]]]:
    """Test files of a copy and options, fastest first. Those of calls in real time take too long, and a whole core."""
    module = path.relative_to(SRC)
    if module.name == "__init__.py":  # a table, say, whose tests lie beside those of its rows' folder
        module = module.parent.with_suffix(".py")
    own = root / "tests" / module.parent / f"test_{module.name}"
    found = {file: file.read_text() for file in sorted((root / "tests" / module.parts[0]).rglob("test_*.py"))}
    files = [file for file, text in found.items() if "peers.harness" not in text]
    yield [file for file in files if file == own], FEW
    others = [file for file in files if file != own]
    yield sorted(others, key=lambda file: (module.stem not in found[file], len(found[file]))), FEW
    yield [file for file in files if "hypothesis" in found[file]], ()


def passes(root: Path, tests: list[Path], options: tuple[str, ...], timeout: float = 600) -> bool:
    """Whether these tests find nothing wrong with this copy; `timeout` in seconds."""
    if not tests:
        return True
    isolated = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    command = [
        *(isolated if os.geteuid() == 0 and shutil.which("ip") else ()),
        *(sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--timeout", "60"),
        *(*options, *map(str, tests)),
    ]
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "TRUNKLINE_UNCOMPILED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_modestly,
    )
    try:
        return process.wait(timeout) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _modestly() -> None:
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))


def all_pass(path: Path, root: Path) -> bool:
    """Whether the tests of this file's room find nothing wrong with this copy. On a busy machine one may fail by
    chance, so that the whole room has a second try."""
    own, *others = stages(path, root)
    return passes(root, *own) and all(passes(root, *stage) or passes(root, *stage) for stage in others)


def survives(mutant: Mutant, root: Path) -> bool:
    """Whether no test of its room notices."""
    target = root / "src" / "trunkline" / mutant.path.relative_to(SRC)
    _put(target, mutant.text)
    try:
        return all_pass(mutant.path, root)
    finally:
        _put(target, mutant.before)


def _put(target: Path, text: str) -> None:
    """Its bytecode goes: it is known by its size and its second, and both may be the same."""
    target.write_text(text)
    for cached in (target.parent / "__pycache__").glob(f"{target.stem}.*"):
        cached.unlink()


@contextmanager
def copies(count: int) -> Iterator["SimpleQueue[Path]"]:
    """So many copies of the project, to be taken and put back."""
    free: SimpleQueue[Path] = SimpleQueue()
    unwanted = shutil.ignore_patterns("*.so", "__pycache__", ".*", "node_modules", "build", "bench")
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(count):
            shutil.copytree(TESTS.parent, Path(scratch, str(number)), ignore=unwanted)
            free.put(Path(scratch, str(number)))
        yield free


def main() -> int:
    """Mutate, count, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--room", default="", help="a room, or the begin of a file's name in src/trunkline")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    mutants = picked(arguments.count, arguments.seed, arguments.room)
    survivors = 0
    with copies(arguments.jobs) as free, ThreadPoolExecutor(arguments.jobs) as pool:

        def in_a_copy(what: Callable[[Path], bool]) -> bool:
            root = free.get()
            try:
                return what(root)
            finally:
                free.put(root)

        sound = {mutant.path.relative_to(SRC).parts[0]: mutant.path for mutant in mutants}
        for room, passed in zip(
            sound, pool.map(in_a_copy, [partial(all_pass, path) for path in sound.values()]), strict=True
        ):
            if not passed:
                sys.exit(f"the tests of {room} fail without any mutation")
        tried = pool.map(in_a_copy, [partial(survives, mutant) for mutant in mutants])
        for mutant, alive in zip(mutants, tried, strict=True):
            survivors += alive
            state = "SURVIVED" if alive else "killed"
            sys.stdout.write(f"{state} {name_of(mutant.path)}:{mutant.line}\n{mutant.diff}\n")
            sys.stdout.flush()
    rate = 1 - survivors / len(mutants)
    sys.stdout.write(f"{len(mutants) - survivors} of {len(mutants)} killed: {rate:.1%}; wanted {WANTED:.0%}\n")
    return rate < WANTED


if __name__ == "__main__":
    sys.exit(main())
