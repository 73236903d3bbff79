"""The table of codecs against the RFCs'."""

from trunkline.sdp.codecs import CODECS


def test_payload_types_and_clocks_are_those_of_rfc_3551_and_rfc_7587() -> None:
    assert {name: (codec.payload_type, codec.encoding) for name, codec in CODECS.items()} == {
        "PCMU": (0, "PCMU/8000"),
        "PCMA": (8, "PCMA/8000"),
        "G722": (9, "G722/8000"),
        "OPUS": (111, "opus/48000/2"),
    }
