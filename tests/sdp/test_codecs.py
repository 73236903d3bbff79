"""The table of codecs against the RFC's."""

from trunkline.sdp.codecs import CODECS


def test_static_payload_types_and_clocks_are_those_of_rfc_3551() -> None:
    assert {name: (codec.payload_type, codec.clock_rate) for name, codec in CODECS.items()} == {
        "PCMU": (0, 8000),
        "PCMA": (8, 8000),
        "G722": (9, 8000),
    }
