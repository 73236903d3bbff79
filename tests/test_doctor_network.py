"""The checks of the network: by sockets that are taken, names that there are not, and sipp as a carrier."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from sip.sipp_uas import Scenario, sipp
from trunkline import doctor_network
from trunkline.config import Settings
from trunkline.demo.server import free_ports
from trunkline.doctor_network import addresses, bound, names, ports, server, trunks
from trunkline.doctor_values import Subject, Symptom


def subject(pid: int | None = None, **settings: Any) -> Subject:
    return Subject(Settings.model_validate(settings), pid)


def bad(findings: list[Symptom]) -> list[str]:
    return [one.text for one in findings if one.severity == "error"]


def at_free_ports() -> dict[str, Any]:
    http, sip, tls, rtp = (free_ports(1) for _ in range(4))
    media = {"port_min": rtp, "port_max": rtp + 3}
    return {"http": {"port": http}, "sip": {"port": sip, "tls_port": tls, "call_limit": 1}, "media": media}


def test_a_port_that_another_has_is_named_with_its_setting() -> None:
    settings = at_free_ports()
    assert not bad(list(ports(subject(**settings))))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", settings["sip"]["port"]))
        found = [one for one in ports(subject(**settings)) if one.severity == "error"]
    [one] = found
    assert one.text == f"sip.port: UDP 127.0.0.1:{settings['sip']['port']}: Address already in use"
    assert "ss -lnp" in one.change


def test_rtp_ports_that_are_taken_are_counted_and_a_range_too_small_is_said() -> None:
    settings = at_free_ports()
    settings["sip"]["call_limit"] = 3
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", settings["media"]["port_min"]))
        warnings = [one.text for one in ports(subject(**settings)) if one.severity == "warning"]
    assert any(f"1 are taken: {settings['media']['port_min']}" in text for text in warnings)
    assert any("is for 2 legs of calls" in text for text in warnings)


def test_an_address_of_another_machine_and_a_name_that_is_none() -> None:
    settings = at_free_ports()
    settings["sip"]["host"] = settings["media"]["host"] = "192.0.2.77"
    found = list(ports(subject(**settings)))
    assert len(bad(found)) == 4, found
    assert all("Cannot assign requested address" in text for text in bad(found))
    assert {one.change.partition(": set ")[2].partition(".")[0] for one in found if one.severity == "error"} == {
        "sip",
        "media",
    }
    assert bound("no-such-host.invalid", 0, socket.SOCK_STREAM) is not None


def test_the_ports_of_a_running_server_are_not_tried() -> None:
    found = list(ports(subject(1, **at_free_ports())))
    assert (found[0].severity, found[0].text.startswith("the server has HTTP")) == ("ok", True)


TRUNK = {"name": "carrier", "targets": ["sip:127.0.0.1:5"], "dial_prefixes": ["+1"]}


@pytest.mark.parametrize(
    ("host", "advertised", "severity"),
    [("127.0.0.1", None, "error"), ("10.0.0.5", None, "warning"), ("10.0.0.5", "8.8.8.8", "ok")],
)
def test_addresses_that_carriers_cannot_reach(host: str, advertised: str | None, severity: str) -> None:
    place = {"host": host, "advertised_host": advertised}
    found = list(addresses(subject(sip=place | {"trunks": [TRUNK]}, media=place)))
    assert [one.severity for one in found] == [severity, severity]
    assert all(one.severity != "error" for one in addresses(subject(sip={"host": host}, media={"host": host})))


def test_urls_of_an_address_that_is_none_of_ours() -> None:
    warned = [one.change for one in addresses(subject(http={"host": "0.0.0.0"})) if one.severity == "warning"]
    assert warned == ["set http.public_url to the base that customers reach"]


@pytest.mark.process  # the resolver's threads
def test_hosts_of_the_settings_are_looked_up() -> None:
    found = list(names(subject(stream="ws://no-such-host.invalid/x", http={"public_url": "http://localhost"})))
    assert [(one.severity, one.text.partition(":")[0]) for one in found] == [("error", "no-such-host.invalid")]
    assert [one.text for one in names(subject(stream="ws://localhost/x"))] == ["found: localhost"]


def carried(target: str, **sip: object) -> Subject:
    return subject(sip={"trunks": [TRUNK | {"targets": [target]}], **sip})


@pytest.mark.peer
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_carrier_is_asked_by_options(tmp_path: Path, transport: str) -> None:
    scenario = Scenario().recv("OPTIONS", ("Max-Forwards", "70")).answer("200 Alive")
    async with sipp(scenario, tmp_path, *("-t", f"{transport[0]}1")) as port:
        target = f"sip:127.0.0.1:{port};transport={transport}"
        found = await asyncio.to_thread(lambda: list(trunks(carried(target))))
    assert [(one.severity, one.text) for one in found] == [
        ("ok", f"carrier: {target} at {transport} 127.0.0.1:{port} answers 200 Alive")
    ]


@pytest.mark.process
def test_carriers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_network, "ANSWER_TIMEOUT", 0.02)
    monkeypatch.setattr(doctor_network, "REPEAT", 0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        [found] = trunks(carried(f"sip:127.0.0.1:{port}"))
        sent = [silent.recv(2000), silent.recv(2000)]
    assert (found.severity, found.text.endswith(f"127.0.0.1:{port}: no answer")) == ("error", True)
    assert sent[0] == sent[1], "over UDP a request is repeated"
    assert sent[0].startswith(b"OPTIONS sip:127.0.0.1")
    [found] = trunks(carried(f"sip:127.0.0.1:{free_ports(1)};transport=tcp"))
    assert (found.severity, found.text.endswith("Connection refused")) == ("error", True)
    [found] = trunks(carried("sip:no-such-host.invalid:5060"))
    assert found.severity == "error"
    assert [one.text for one in trunks(subject())] == ["there are none"]


def test_a_server_that_does_not_answer_is_an_error() -> None:
    [found] = server(subject(77, http={"port": free_ports(1)}))
    assert (found.severity, found.text.startswith("process 77 runs and does not answer http://127")) == ("error", True)
    assert next(iter(server(subject()))).severity == "ok"
