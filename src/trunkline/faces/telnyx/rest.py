"""The REST of Telnyx: TeXML calls, streams and applications, and the Call Control hang-up."""

from collections.abc import Mapping

from trunkline.api.operation import TEXT, Operation, RestFace, Schema, record
from trunkline.faces.telnyx import asyncapi, errors
from trunkline.faces.telnyx.operations import (
    accounts,
    applications,
    calls,
    captures,
    console,
    erasure,
    events,
    node,
    recordings,
    signing,
    sip,
    streams,
)
from trunkline.faces.telnyx.webhooks import WEBHOOKS

_GROUPS: Mapping[str, tuple[Operation, ...]] = {
    "Streams": streams.OPERATIONS,
    "Calls": calls.OPERATIONS,
    "Recordings": recordings.OPERATIONS,
    "Applications": applications.OPERATIONS,
    "Captures": captures.OPERATIONS,
    "SIP messages": sip.OPERATIONS,
    "Console": console.OPERATIONS,
    "Phones, trunks and workers": node.OPERATIONS,
    "Erasure": erasure.OPERATIONS,
    "Events": events.OPERATIONS,
    "Accounts and keys": accounts.OPERATIONS,
    "Key of callbacks": signing.OPERATIONS,
}
OPERATIONS = tuple(operation for group in _GROUPS.values() for operation in group)

_SCHEMAS: Mapping[str, Schema] = {
    **streams.SCHEMAS,
    **calls.SCHEMAS,
    **recordings.SCHEMAS,
    **applications.SCHEMAS,
    **captures.SCHEMAS,
    **sip.SCHEMAS,
    **console.SCHEMAS,
    **node.SCHEMAS,
    **erasure.SCHEMAS,
    **events.SCHEMAS,
    **accounts.SCHEMAS,
    **signing.SCHEMAS,
    "NotFound": record(
        {"errors": {"type": "array", "items": record({"detail": TEXT}), "minItems": 1}},
    ),
    "Errors": record(
        {
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "code": TEXT,
                        "title": TEXT,
                        "detail": TEXT,
                        "source": record({"pointer": {"type": "string", "example": "/Url"}}),
                    },
                    "required": ["code", "title", "detail"],
                },
            }
        }
    ),
}


REST = RestFace(
    title="Trunkline",
    description="The Telnyx TeXML Streams API on your own server. Every path is served with and without "
    "`.json`; every body may be JSON or a form; field names may be CamelCase or snake_case. A method that a "
    "path does not have is answered 405 with `Allow`. An answer with `x-should-retry: false` must not be "
    "repeated; a start that is repeated with `x-stainless-retry-count: 1` or `2` within a minute returns the "
    "stream that the first try made.",
    prefix="/v2",
    operations=OPERATIONS,
    schemas=_SCHEMAS,
    error_body=errors.body,
    error_response=errors.response,
    error_schema=errors.schema,
    asyncapi=asyncapi.document(),
    webhooks=WEBHOOKS,
    groups={operation.id: name for name, group in _GROUPS.items() for operation in group},
)
