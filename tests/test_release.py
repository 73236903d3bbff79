"""What a release is made of: locked versions, wheels."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = [
    Requirement(one)
    for one in (*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["postgres"])
]
PIN = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\\n]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE
)


def pins(name: str) -> dict[str, str]:
    """Versions by name of a lock file."""
    return dict(PIN.findall((ROOT / name).read_text()))


def unmet(wanted: Iterable[Requirement], locked: dict[str, str]) -> list[str]:
    """Requirements that the versions do not meet."""
    return [
        str(one) for one in wanted if name_of(one) not in locked or not one.specifier.contains(locked[name_of(one)])
    ]


def name_of(one: Requirement) -> str:
    return canonicalize_name(one.name)


def brought() -> list[Requirement]:
    """What the locked packages need in turn, of those that are installed here in the version that is locked."""
    extras = {name_of(one): one.extras for one in NEEDED}
    found: list[Requirement] = []
    for name, pinned in pins("requirements.lock").items():
        asked = {"", *extras.get(name, ())}
        for installed in Distribution.discover(name=name):
            wanted = map(Requirement, (installed.requires or ()) if installed.version == pinned else ())
            found += (
                one
                for one in wanted
                if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in asked)
            )
    return found


def test_the_lock_has_all_that_is_needed_within_its_bounds() -> None:
    locked = pins("requirements.lock")
    assert unmet(NEEDED, locked) == []
    assert len(brought()) > 20
    assert unmet(brought(), locked) == []


def test_the_lock_of_the_build_has_what_builds() -> None:
    builds = [Requirement(one) for one in PROJECT["build-system"]["requires"]]
    assert unmet(builds, pins("requirements-build.lock")) == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_a_lock_has_hashes_and_no_place_to_download_from(name: str) -> None:
    rest = re.sub(r"^ *#.*\n", "", PIN.sub("", (ROOT / name).read_text()), flags=re.MULTILINE)
    assert rest == ""


def test_wheels_are_built_for_each_python_that_is_named() -> None:
    named = re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert PROJECT["tool"]["cibuildwheel"]["build"] == [f"cp3{minor}-*" for minor in named]


@pytest.mark.process
@pytest.mark.parametrize(("uncompiled", "code", "said"), [("0", 0, r"\d\d compiled modules in "), ("1", 1, "is set")])
def test_a_wheel_whose_packet_path_is_not_compiled_fails(uncompiled: str, code: int, said: str) -> None:
    command = [sys.executable, str(ROOT / ".ci/compiled.py")]
    environment = os.environ | {"TRUNKLINE_UNCOMPILED": uncompiled}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert re.search(said, done.stdout + done.stderr)
