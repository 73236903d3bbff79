"""The table of codecs against the RFCs'."""

import pytest

from trunkline.sdp.codecs import CODECS, canonical


def test_payload_types_and_clocks_are_those_of_rfc_3551_and_rfc_7587() -> None:
    formats = {name: (codec.payload_type, codec.encoding) for name, codec in CODECS.items()}
    assert formats["PCMU"] == (0, "PCMU/8000")
    assert formats["PCMA"] == (8, "PCMA/8000")
    assert formats["G722"] == (9, "G722/8000")
    assert formats["OPUS"] == (111, "opus/48000/2")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("PCMU/8000", "PCMU/8000"),
        ("pcmu/8000", "PCMU/8000"),
        ("PCMU/8000/1", "PCMU/8000"),
        ("PCMU", "PCMU/8000"),
        ("PCMA/", "PCMA/8000"),
        ("PCMA / 8000", "PCMA/8000"),
        ("G722/16000", "G722/8000"),
        ("g722/16000/1", "G722/8000"),
        ("telephone-event", "telephone-event/8000"),
        ("Telephone-Event/48000", "telephone-event/48000"),
        ("OPUS/48000/2", "opus/48000/2"),
    ],
)
def test_codec_names_are_recognised_as_devices_write_them(written: str, meant: str) -> None:
    assert canonical(written) == meant


@pytest.mark.parametrize("other", ["PCMU/16000", "PCMU/8000/2", "opus/48000", "opus", "G729/8000", "", "/8000"])
def test_unknown_codec_names_stay_as_they_are(other: str) -> None:
    assert canonical(other) == other
