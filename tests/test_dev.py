"""The parts of `trunkline dev`: its settings, ports, and whether the bot listens. test_cli_dev.py has the whole."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from trunkline.dev import Bot, command, defaults, with_free_ports
from trunkline.settings import load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def base(**environ: str) -> dict[str, Any]:
    return defaults({"stream": "ws://a"}, Path("/store"), environ)


def test_the_account_and_its_key_are_the_same_each_time(home: Path) -> None:
    first = base()
    assert base() == first
    loaded = load({}, {}, None, base=first)
    assert (loaded.settings.account_sid, loaded.settings.api_key) == (first["account_sid"], first["api_key"])
    assert loaded.settings.sip.unknown_callers == "loopback"
    assert loaded.origins["stream"] == "dev"
    given = {"TRUNKLINE_ACCOUNT_SID": first["account_sid"], "TRUNKLINE_API_KEY": "KEY4567890123456"}
    assert load({}, given, None, base=base(**given)).settings.api_key == "KEY4567890123456"
    assert "api_key" not in base(**given)
    (home / ".local/share/trunkline/dev.key").unlink()
    assert base()["api_key"] != first["api_key"]


def test_where_nothing_can_be_kept_there_is_a_key_all_the_same(home: Path) -> None:
    (home / ".local").write_text("")  # no folder
    assert len(base()["api_key"]) > 16


def test_a_file_counts_if_it_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    file = home / "trunkline.toml"
    file.write_text("[http]\nport = 9\n")
    assert load({}, {}, None, base=base()).settings.http.port == 8080
    assert load({}, {}, file, base=base()).settings.http.port == 9


def test_a_port_that_is_taken_gives_way_unless_it_was_asked_for() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        usual = {"http": {"port": taken}, "sip": {"port": 0}}
        loaded = load({}, {}, None, base=usual)
        asked = load({"http.port": str(taken)}, {}, None, base=base())
        assert with_free_ports(asked)[0].http.port == taken
        loaded.origins["http.port"] = "default"
        settings, moved = with_free_ports(loaded)
        assert settings.http.port not in (taken, 0)
        assert moved == (f"Port {taken} is taken: HTTP is on {settings.http.port}.",)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.0.2.1"])
async def test_whether_the_bot_listens_is_seen_without_a_connection(host: str) -> None:
    accepted: list[object] = []
    server = await asyncio.start_server(lambda *pair: accepted.append(pair), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bot = Bot.of(f"ws://{host}:{port}/ws")
    if host == "192.0.2.1":  # RFC 5737: on another machine, which does not answer
        assert await bot.listens() != ""
    else:
        assert await bot.listens() == ""
    server.close()
    await server.wait_closed()
    assert await bot.listens() != ""
    assert accepted == []


async def test_a_bot_of_another_machine_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.dev._listening_here", lambda port: None)  # a kernel that does not say
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await Bot.of(f"ws://127.0.0.1:{port}/ws").listens() == ""
    server.close()
    await server.wait_closed()
    assert "refused" in await Bot.of(f"ws://127.0.0.1:{port}/ws").listens()


def test_the_ports_of_urls_without_one() -> None:
    assert (Bot.of("ws://a/b").port, Bot.of("wss://a").port, Bot.of("http://a").port) == (80, 443, 80)


def test_the_command_is_shown_as_it_can_be_typed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = home / "a b" / "trunkline"
    ours.parent.mkdir()
    ours.write_text("#!/bin/sh\n")
    ours.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(ours)])
    monkeypatch.setenv("PATH", str(ours.parent))
    assert command() == "trunkline"
    monkeypatch.setenv("PATH", "/none")
    assert command() == f"'{ours}'"
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert command() == "trunkline"
