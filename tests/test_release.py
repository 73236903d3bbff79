"""What a release is made of: locked versions, wheels, a signed tag, the changelog's words."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
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


class Repository:
    """An origin with version 1.2.3 on main, and who signs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.origin = directory / "origin"
        self.environment = os.environ | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        for name in ("maintainer", "stranger"):
            subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)])
        self.git("init", "--quiet", "--initial-branch", "main", str(self.origin), where=directory)
        self.write("pyproject.toml", '[project]\nversion = "1.2.3"\n')
        self.write("src/trunkline/__init__.py", '__version__ = "1.2.3"\n')
        self.write("CHANGELOG.md", "## 1.2.3 (2027-01-31)\n\n- New.\n\n## 1.2.2 (2027-01-01)\n\n- Old.\n")
        self.allow("maintainer")
        self.commit()

    def git(self, *words: str, where: Path | None = None) -> None:
        subprocess.check_call(["git", *words], cwd=where or self.origin, env=self.environment)

    def write(self, name: str, text: str) -> None:
        path = self.origin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change")

    def allow(self, *signers: str) -> None:
        lines = [f'a@example.com namespaces="git" {(self.directory / f"{one}.pub").read_text()}' for one in signers]
        self.write(".github/allowed_signers", "".join(lines))

    def sign(self, signer: str = "maintainer", tag: str = "v1.2.3") -> None:
        key = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={self.directory / signer}")
        self.git(*key, "tag", "--sign", "--message", "A release", tag)

    def tagged(self, tag: str = "v1.2.3") -> subprocess.CompletedProcess[str]:
        """What the step says of the tag, in a clone where it is what actions/checkout makes of it: its commit."""
        clone = self.directory / "clone"
        self.git("clone", "--quiet", str(self.origin), str(clone), where=self.directory)
        self.git("checkout", "--quiet", "--detach", f"{tag}^{{commit}}", where=clone)
        self.git("update-ref", f"refs/tags/{tag}", "HEAD", where=clone)
        command = [str(ROOT / ".ci/release"), "tagged", tag]
        return subprocess.run(
            command, cwd=clone, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.process
def test_a_tag_that_a_maintainer_signed_is_released(repository: Repository) -> None:
    repository.sign()
    repository.write("later", "")
    repository.commit()
    done = repository.tagged()
    assert (done.returncode, done.stdout) == (0, "")
    assert 'Good "git" signature for a@example.com' in done.stderr


def of_another_version(repository: Repository) -> None:
    repository.write("pyproject.toml", '[project]\nversion = "1.2.4"\n')
    repository.commit()
    repository.sign()


def of_a_version_without_a_date(repository: Repository) -> None:
    repository.write("CHANGELOG.md", "# Changelog\n\n## 1.2.3 (unreleased)\n\n- New.\n")
    repository.commit()
    repository.sign()


def without_a_signature(repository: Repository) -> None:
    repository.git("tag", "--annotate", "--message", "A release", "v1.2.3")


def without_a_message(repository: Repository) -> None:
    repository.git("tag", "v1.2.3")


def by_a_stranger(repository: Repository) -> None:
    repository.sign("stranger")


def beside_main_by_a_stranger_who_allows_himself(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.allow("stranger")
    repository.commit()
    repository.sign("stranger")
    repository.git("checkout", "--quiet", "main")


def by_who_was_a_maintainer(repository: Repository) -> None:
    repository.sign()
    repository.allow("stranger")
    repository.commit()


@pytest.mark.process
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (of_another_version, "pyproject.toml is not of version 1.2.3"),
        (of_a_version_without_a_date, "CHANGELOG.md has no '## 1.2.3 (YEAR-MONTH-DAY)'"),
        (without_a_signature, "v1.2.3 is not signed by"),
        (without_a_message, "v1.2.3 is not signed by"),
        (by_a_stranger, "v1.2.3 is not signed by"),
        (beside_main_by_a_stranger_who_allows_himself, "v1.2.3 is not on main"),
        (by_who_was_a_maintainer, "v1.2.3 is not signed by"),
    ],
)
def test_another_tag_is_refused(repository: Repository, made: Callable[[Repository], None], said: str) -> None:
    made(repository)
    done = repository.tagged()
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.process
def test_the_page_of_a_release_has_its_part_of_the_changelog(repository: Repository) -> None:
    command = [str(ROOT / ".ci/release"), "notes", "v1.2.3"]
    assert subprocess.check_output(command, cwd=repository.origin, text=True).strip() == "- New."
