"""Runs of the command line. Each is a process of its own, with its own environment, directory and output, but it is
forked from one that has imported the code already: of the time of a short command nearly all is imports.
"""

import atexit
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NoReturn

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
"""The environment without our settings."""


def trunkline(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `trunkline` to its end, with CLEAN and `env` as its environment and nothing on standard input."""
    with tempfile.TemporaryDirectory() as directory:
        outputs = [str(Path(directory) / name) for name in ("stdout", "stderr")]
        asked = {"cwd": str(cwd), "arguments": arguments, "env": CLEAN | (env or {}), "outputs": outputs}
        parent = _parent()
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(json.dumps(asked) + "\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        stdout, stderr = (Path(output).read_text() for output in outputs)
    return subprocess.CompletedProcess(["trunkline", *arguments], code, stdout, stderr)


@cache
def _parent() -> subprocess.Popen[str]:
    """The process that has imported the code. It ends with ours, when its standard input does."""
    parent = subprocess.Popen(
        [sys.executable, __file__], env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(parent.communicate)
    return parent


def _serve(main: Callable[[], object]) -> None:
    """A child for each line of standard input; its exit code is a line of standard output."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(main, **json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201 - for the test


def _run(
    main: Callable[[], object], cwd: str, arguments: list[str], env: dict[str, str], outputs: list[str]
) -> NoReturn:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = arguments
    random.seed()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    code: object = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    from trunkline import server  # noqa: F401 - what `serve` and all else needs
    from trunkline.cli import main as command_line

    sys.argv[0] = "trunkline"
    _serve(command_line)
