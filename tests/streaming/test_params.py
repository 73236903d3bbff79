"""The parameters of a stream, and the media formats that follow."""

import pytest

from stream_params import stream_params
from trunkline.streaming.params import BidirectionalMode, StreamReport, TargetLegs, Track


@pytest.mark.parametrize(
    ("track", "inbound", "outbound"),
    [("inbound_track", True, False), ("outbound_track", False, True), ("both_tracks", True, True)],
)
def test_a_track_selects_the_audio_to_the_app(track: str, inbound: bool, outbound: bool) -> None:
    assert (Track(track).inbound, Track(track).outbound) == (inbound, outbound)


@pytest.mark.parametrize(
    ("codec", "rate", "encoding"),
    [
        ("default", 8000, "G722"),
        ("default", 16000, "G722"),
        ("PCMA", 8000, "PCMA"),
        ("L16", 8000, "L16/8000"),
        ("L16", 48000, "L16/48000"),
        ("OPUS", 48000, "OPUS"),
    ],
)
def test_the_stream_format_is_that_of_the_call_by_default(codec: str, rate: int, encoding: str) -> None:
    assert stream_params("ws://a/", codec=codec, sampling_rate=rate).encoding("G722") == encoding


def test_the_apps_format_has_a_rate_where_it_may_have_several() -> None:
    assert stream_params("ws://a/").bidirectional_encoding == "PCMU"
    params = stream_params("ws://a/", bidirectional_codec="L16", bidirectional_sampling_rate=22050)
    assert params.bidirectional_encoding == "L16/22050"


def test_defaults_are_the_documented_ones() -> None:
    params = stream_params("ws://a/")
    assert (params.track, params.mode, params.target_legs) == (Track.INBOUND, BidirectionalMode.MP3, TargetLegs.SELF)
    assert (params.codec, params.sampling_rate, params.bidirectional_sampling_rate) == ("default", 8000, 8000)
    assert (params.enable_reconnect, params.status_callback_method, params.l16_endian) == (True, "POST", None)
    assert params.custom_parameters == {}


def test_counters_are_flat_and_are_read_back() -> None:
    report = StreamReport(
        frames_sent=3,
        last_cause="no pong",
        errors={"rate_limit_reached": 2, "invalid_media": 1},
        refusals={"invalid_media": "media.payload is empty"},
    )
    flat = report.counters()
    assert list(flat)[:2] == ["frames_sent", "frames_dropped"]
    names = ["last_cause", "error_rate_limit_reached", "error_invalid_media", "refusal_invalid_media"]
    assert list(flat)[-4:] == names
    assert StreamReport.read(flat) == report
    assert StreamReport.read({}) is None
    assert StreamReport.read({"marks": 2, "of_another_version": 1, "error_of_it": 1}) == StreamReport(marks=2)
