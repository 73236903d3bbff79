"""The fields of requests for recordings."""

import pytest

from trunkline.api.bodies import Fields
from trunkline.calls.commands import RecordingCallback, RecordingRequest
from trunkline.errors import InvalidEnum, InvalidRequest, InvalidType, InvalidUrl
from trunkline.faces.telnyx.fields.recordings import placed_recording, recording_start
from trunkline.workers.orders import RecordingOptions


def test_without_fields_both_sides_are_recorded_on_two_channels_behind_a_beep() -> None:
    assert recording_start(Fields(())) == RecordingRequest(RecordingOptions(2), RecordingCallback(), play_beep=True)


def test_all_fields_of_a_start() -> None:
    fields = {
        "PlayBeep": "false",
        "RecordingChannels": "dual",
        "RecordingStatusCallback": "https://a/b",
        "RecordingStatusCallbackEvent": "absent in-progress",
        "RecordingStatusCallbackMethod": "GET",
        "RecordingTrack": "outbound",
        "SendRecordingUrl": False,
    }
    callback = RecordingCallback("https://a/b", "GET", "in-progress absent", sends_url=False)
    options = RecordingOptions(1, track="outbound")
    assert recording_start(Fields(fields.items())) == RecordingRequest(options, callback, play_beep=False)


def test_a_placed_call_is_recorded_only_if_it_is_asked_for() -> None:
    rest = {"RecordingChannels": "dual", "RecordingTimeout": "5"}
    assert placed_recording(Fields(rest.items())) is None
    assert placed_recording(Fields([*rest.items(), ("Record", "false")])) is None
    wanted = placed_recording(Fields([*rest.items(), ("Record", "true")]))
    assert wanted == RecordingRequest(RecordingOptions(2, silence=5, after_speech=True))
    assert placed_recording(Fields([("record", True)])) == RecordingRequest(RecordingOptions(1, after_speech=True))


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("RecordingChannels", "mono", InvalidEnum),
        ("RecordingTrack", "all", InvalidEnum),
        ("RecordingStatusCallbackEvent", "completed failed", InvalidEnum),
        ("RecordingStatusCallback", "ftp://a/", InvalidUrl),
        ("PlayBeep", "yes", InvalidType),
    ],
)
def test_what_is_wrong_is_refused_by_name(name: str, value: str, kind: type[InvalidRequest]) -> None:
    with pytest.raises(kind, match=name) as failure:
        recording_start(Fields([(name, value)]))
    assert failure.value.pointer == f"/{name}"


def test_fields_of_a_placed_call_are_checked_though_it_is_not_recorded() -> None:
    with pytest.raises(InvalidRequest, match="RecordingTimeout must be from 0 to 14400"):
        placed_recording(Fields([("RecordingTimeout", 99999)]))
