"""The checks of the machine, each at a machine that is well and at one that is not."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline import compiled
from trunkline.config import Settings
from trunkline.doctor_machine import (
    buffers,
    clock,
    decoder,
    disk,
    file_limit,
    files,
    packet_path,
    processors,
    speech,
    workers,
)
from trunkline.doctor_values import Subject


def subject(**settings: object) -> Subject:
    return Subject(Settings.model_validate(settings), None)


def test_files_for_the_calls_that_are_allowed() -> None:
    [few] = files(subject(sip={"call_limit": 10}, media={"workers": 1}))
    assert (few.severity, "needs up to 230" in few.text) == ("ok", True)
    [many] = files(subject(sip={"call_limit": 10**9}, media={"workers": 1}))
    assert (many.severity, "LimitNOFILE=3000000200" in many.change) == ("warning", True)


@pytest.mark.process
def test_the_limit_is_that_of_the_running_server() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (77, 77))
        assert file_limit(process.pid) == 77
        process.kill()
    assert file_limit(None) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_buffers_and_clock_are_read_from_the_kernel() -> None:
    [found] = buffers(subject())
    assert int(found.text.split()[3]) > 0
    [found] = clock(subject())
    # What timedatectl would say; adjtimex(2) of the machine decides.
    assert found.severity in ("ok", "warning")
    assert (found.change == "") == (found.severity == "ok")


def test_calls_that_do_not_fit_on_the_processors() -> None:
    [found] = processors(subject(sip={"call_limit": 10}, media={"workers": 1}))
    assert found.severity == "ok"
    [found] = processors(subject(sip={"call_limit": 10**6}, media={"workers": 1}))
    assert (found.severity, found.change.startswith("set sip.call_limit=")) == ("warning", True)
    [found] = processors(subject(media={"workers": 4000}))
    assert (found.severity, found.change.startswith("lower media.workers")) == ("warning", True)
    assert workers(subject()) == max(1, (os.cpu_count() or 1) - 1)


def test_a_packet_path_that_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "FALLBACK_REASON", "it was not")
    [found] = packet_path(subject())
    assert (found.severity, "it was not" in found.text) == ("warning", True)
    monkeypatch.setattr(compiled, "FALLBACK_REASON", "")
    [found] = packet_path(subject())
    assert found.severity == "ok"


def test_a_disk_without_room_for_recordings(tmp_path: Path) -> None:
    store = {"directory": tmp_path / "not" / "there", "recordings_floor": 0}
    assert [one.severity for one in disk(subject(store=store))] == ["ok", "ok"]
    full = list(disk(subject(store=store | {"recordings_floor": 10**11})))
    assert [one.severity for one in full] == ["ok", "error"]
    assert "store.recordings_floor" in full[1].text


def test_a_speaker_that_is_not_installed() -> None:
    [found] = speech(subject(texml={"speaker": "no-such-program"}))
    assert (found.severity, "no-such-program is not installed" in found.text) == ("warning", True)
    [found] = speech(subject(texml={"speaker": sys.executable}))
    assert found.severity == "ok"


@pytest.mark.process
def test_the_decoder_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    [found] = decoder(subject())
    assert found.severity == "ok"
    (tmp_path / "av.py").write_text("raise ImportError('libavcodec.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [found] = decoder(subject())
    assert (found.severity, "libavcodec.so: cannot open" in found.text) == ("error", True)
