"""The files for those who deploy: what they name exists, and what they promise is in them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trunkline.settings import load

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVER = COMPOSE["services"]["trunkline"]
UNIT = ROOT / "deploy/systemd/trunkline.service"


def test_every_variable_is_a_setting(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://trunkline:x@127.0.0.1/trunkline")
    named = dict(re.findall(r"(TRUNKLINE_\w+)=(\S+)", DOCKERFILE)) | SERVER["environment"]
    values = {name: re.sub(r"\$\{ADDRESS:-(.*)\}", r"\1", value) for name, value in named.items()}
    assert values["TRUNKLINE_STORE__URL_FILE"] == "/run/secrets/store_url"
    loaded = load({}, values | {"TRUNKLINE_STORE__URL_FILE": str(secret)}, None)
    assert not loaded.unknown_variables
    assert loaded.settings.store.url == secret.read_text()
    assert str(loaded.settings.store.directory) == SERVER["volumes"][0].partition(":")[2]


def test_what_the_image_copies_reaches_it_and_nothing_else_does() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [word for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M) for word in line.split()]
    assert ignored[0] == "*"
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_containers_are_confined() -> None:
    last_user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)
    assert last_user == ["trunkline"]
    for service in (SERVER, COMPOSE["services"]["bot"]):
        assert service["read_only"] is True
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert set(SERVER["secrets"]) <= set(COMPOSE["secrets"])
    bot = COMPOSE["services"]["bot"]["entrypoint"][1]
    assert (ROOT / bot.removeprefix("/")).exists()


@pytest.mark.process
def test_the_unit_is_hardened() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # Of 100, in steps of a tenth: 17 as it is.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--json=short", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, [one["name"] for one in json.loads(done.stdout) if one["set"] is not True]


WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}


def test_the_workflows_call_targets_that_there_are() -> None:
    """`.github/workflows` and pre-commit do what a developer does."""
    jobs = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
    typed = [step["run"] for job in jobs for step in job.get("steps", ()) if "run" in step]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(typed) > 8
    assert {*typed, *(hook["entry"] for hook in hooks)} <= {f"make {target}" for target in targets}


def test_only_what_publishes_may_do_more_than_read() -> None:
    assert {name for name, workflow in WORKFLOWS.items() if workflow["permissions"] != {"contents": "read"}} == set()
    jobs = WORKFLOWS["release"]["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items() if "permissions" in job} == {
        "publish": {"contents": "read", "id-token": "write", "attestations": "write"},
        "page": {"contents": "write"},
    }
    assert set(jobs["publish"]["needs"]) == {name for name, job in jobs.items() if job.get("needs") == "tag"}
    assert [job for job in WORKFLOWS["ci"]["jobs"].values() if "permissions" in job] == []


def test_the_image_installs_only_what_has_a_hash() -> None:
    commands = re.findall(r"pip (?:install|wheel) [^&\\\n]+", DOCKERFILE)
    assert len(commands) == 4
    assert [one for one in commands if "--require-hashes" not in one and "--no-index --no-deps" not in one] == []
