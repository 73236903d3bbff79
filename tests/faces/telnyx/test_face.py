"""The first face, whole."""

import re

from trunkline.faces.telnyx.face import TELNYX
from trunkline.ids import new_life


def test_ids_are_telnyxs() -> None:
    assert re.fullmatch(r"v3:[A-Za-z0-9_-]{54}", TELNYX.ids.call(new_life(bytes(5)), bytes(TELNYX.ids.call_bytes)))
    assert TELNYX.ids.stream(bytes(16)) == "00000000-0000-4000-8000-000000000000"


def test_each_operation_has_an_id_and_a_route_of_its_own() -> None:
    operations = TELNYX.rest.operations
    assert len({operation.id for operation in operations}) == len(operations)
    assert len({(operation.method, operation.path) for operation in operations}) == len(operations)
    assert {operation.result for operation in operations} <= set(TELNYX.rest.schemas)
    assert all(operation.path.startswith(f"{TELNYX.rest.prefix}/") for operation in operations)
