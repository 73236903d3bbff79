"""The messages between processes: each has its name on the wire, and is decoded as it was encoded."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from trunkline.workers import messages
from trunkline.workers.decoder import messages as decoder
from trunkline.workers.orders import Order
from trunkline.workers.reports import Report

UNIONS = {
    "to a worker": messages.ToWorker,
    "orders for a leg": Order,
    "to the control process": messages.ToControl,
    "reports of a leg": Report,
    "to the decoder": decoder.ToDecoder,
    "from the decoder": decoder.FromDecoder,
}


@pytest.mark.parametrize("union", UNIONS.values(), ids=UNIONS)
def test_each_message_has_its_name_as_tag(union: Any) -> None:
    kinds = get_args(union)
    names = [kind.__struct_config__.tag for kind in kinds]
    assert names == [kind.__name__ for kind in kinds]
    assert len(set(names)) == len(names)


KINDS = sorted({kind for union in UNIONS.values() for kind in get_args(union)}, key=lambda kind: str(kind.__name__))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_each_message_is_decoded_as_it_was_encoded(kind: type[msgspec.Struct]) -> None:
    union = next(union for union in UNIONS.values() if kind in get_args(union))
    reader: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(union)

    @given(st.data())
    def run(data: st.DataObject) -> None:
        message = data.draw(st.from_type(kind))
        try:
            encoded = msgspec.msgpack.encode(message)
        except (OverflowError, UnicodeEncodeError):
            reject()  # numbers beyond 64 bits, lone surrogates
        decoded = reader.decode(encoded)
        assert type(decoded) is kind
        assert msgspec.msgpack.encode(decoded) == encoded  # NaN is not equal to itself

    run()


def test_timeouts_are_much_longer_than_the_status_interval() -> None:
    assert messages.SIGN_OF_LIFE >= 10 * messages.STATUS_INTERVAL
    assert messages.LISTENING < messages.REPORT_TIMEOUT
