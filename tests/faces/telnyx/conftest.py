"""The calls of the API's tests, and events as the tests of webhooks have them."""

from api.conftest import control
from webhooks.conftest import call_event_of, event_of, stream_of

__all__ = ["call_event_of", "control", "event_of", "stream_of"]
