"""Requests that customers' servers have got, held to the webhooks of the OpenAPI document."""

from collections.abc import Iterable, Mapping

from api.documented import validate
from trunkline.api.operation import Webhook
from trunkline.demo.callbacks import Callback
from trunkline.faces.telnyx.webhooks import WEBHOOKS

_BY_NAME = {webhook.name: webhook for webhook in WEBHOOKS}
_STREAM = {"stream-started": "StreamStarted", "stream-stopped": "StreamStopped"}
_CALL = ("CallInitiated", "CallRinging", "CallAnswered", "CallCompleted")
_BY_FIELD = {
    "RecordingStatus": "RecordingStatus",
    "RecordingSid": "RecordAction",
    "DialCallStatus": "DialAction",
    "FinishedOnKey": "GatherAction",
}


def webhook_of(form: Mapping[str, str]) -> Webhook:
    """The webhook that a request with these fields is."""
    if "StreamEvent" in form:
        return _BY_NAME[_STREAM.get(form["StreamEvent"], "StreamFailed")]
    if "CallbackSource" in form:
        return _BY_NAME[_CALL[int(form["SequenceNumber"])]]
    return _BY_NAME[next((name for field, name in _BY_FIELD.items() if field in form), "Document")]


def check_form(form: Mapping[str, str]) -> str:
    """Its fields, their values and their order are as described; the webhook's name. Raises AssertionError."""
    webhook = webhook_of(form)
    validate(webhook.schema, dict(form))
    described = [name for name in webhook.fields if name in form]
    assert [name for name in form if name in webhook.fields] == described, "in the described order"
    return webhook.name


def check_requests(requests: Iterable[Callback]) -> set[str]:
    """All requests that have a form, not those for sounds; the names of the webhooks that were among them."""
    return {check_form(one.fields) for one in requests if "AccountSid" in one.fields}
