"""The table of codecs: what each row must have to serve SDP, the API and RTP. Encoders: `media/test_codecs.py`."""

import pytest

from trunkline.codecs import CALL_CODECS, CODEC_TABLE, TELEPHONE_EVENTS, CodecRow, format_name

ROWS = pytest.mark.parametrize("row", CODEC_TABLE.values(), ids=lambda row: row.name)


@ROWS
def test_the_sdp_of_a_codec_has_the_clock_rate_of_its_row(row: CodecRow) -> None:
    if row.sdp is not None:
        assert int(row.sdp.encoding.split("/")[1]) == row.clock_rate()
        assert row.sdp.encoding.partition("/")[0].upper() == row.name


@ROWS
def test_a_call_codec_has_one_rate_whole_clock_ticks_and_a_telephone_event(row: CodecRow) -> None:
    if row.name in CALL_CODECS:
        assert not row.has_rates
        assert row.clock_rate() % 1000 == 0
        assert row.clock_rate() in TELEPHONE_EVENTS


def test_payload_types_of_an_offer_differ() -> None:
    formats = [row.sdp for row in CODEC_TABLE.values() if row.sdp] + list(TELEPHONE_EVENTS.values())
    assert len({one.payload_type for one in formats}) == len(formats)


def test_pcm_exists_at_the_sample_rate_of_every_codec() -> None:
    rates = {rate for row in CODEC_TABLE.values() for rate in row.sample_rates}
    assert rates <= set(CODEC_TABLE["L16"].sample_rates)


def test_only_a_codec_with_several_rates_has_its_rate_in_the_format() -> None:
    assert format_name("L16", 16000) == "L16/16000"
    assert format_name("G722", 16000) == "G722"
