"""What a face's REST operations are made of: the row, the request that a handler gets, the table of a face. Pure."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from trunkline import errors
from trunkline.api import bodies
from trunkline.api.auth import FULL, OPERATORS_KEY, Principal, Right
from trunkline.api.bodies import Fields
from trunkline.api.logins import Logins
from trunkline.api.readers import Field
from trunkline.api.retries import Tries, fingerprint, once_per_key
from trunkline.calls.accounts import Accounts
from trunkline.calls.control import Applications, CallControl, SigningKeys
from trunkline.errors import AuthenticationFailed
from trunkline.ids import CallSid

T = TypeVar("T")
Schema = Mapping[str, object]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "integer"}
TIME: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date", "example": "2023-05-22"}


@dataclass(frozen=True, slots=True)
class Services:
    """What operations act on."""

    control: CallControl
    applications: Applications
    accounts: Accounts
    signing: SigningKeys
    body_limit: int
    """Bytes of a request's body."""
    counters: Counter[str]
    tries: Tries[Any]
    """What requests made in the last minute."""
    ticket: Callable[[Principal], str]
    """A new ticket for that sender; raises TooManyRequests."""
    console: Logins


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request to an operation, from a principal who may send it."""

    http: Request
    path: Mapping[str, str]
    """The parameters of the path, decoded."""
    sender: Principal | None
    """None for a public operation."""
    services: Services
    made: dict[str, object] = field(default_factory=dict)
    """For the audit log: ids of what the operation made."""

    @property
    def principal(self) -> Principal:
        """Who sent it. Raises AuthenticationFailed for a public operation."""
        if self.sender is None:
            raise AuthenticationFailed()
        return self.sender

    @property
    def call_sid(self) -> CallSid:
        """The call in the path."""
        return CallSid(self.path["call_sid"])

    def query(self) -> Fields:
        """The fields of the query string. Raises InvalidRequest."""
        return bodies.parse_query(self.http.url.query)

    async def body(self) -> tuple[bytes, Fields]:
        """The body as it came, and its fields. Raises PayloadTooLarge, UnsupportedMediaType, InvalidRequest, and
        AuthenticationFailed where the key was revoked meanwhile."""
        read = await bodies.fields_of(self.http, self.services.body_limit)
        key = self.principal.key_sid
        if key != OPERATORS_KEY and not self.services.accounts.is_valid(key):
            raise AuthenticationFailed()
        return read

    async def public_body(self) -> tuple[bytes, Fields]:
        """The same of a request that needs no key."""
        return await bodies.fields_of(self.http, self.services.body_limit)

    async def once_per_key(self, scope: str, body: bytes, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` makes; for a repeat of a request of the last minute, what its first try made.

        `scope` names what is made: equal bodies in another scope are no repeat.
        """
        key = fingerprint(self.principal.key_sid, scope, body)
        return await once_per_key(self.http, self.services.tries, key, make, self.services.counters)


NO_CONTENT = 204
"""The status of an answer without a body."""

Handler = Callable[[ApiRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: how it is described, and what serves it."""

    method: str
    path: str
    """As documented."""
    id: str
    """The SDKs' operation id, or one in their manner."""
    handler: Handler
    summary: str
    result: str
    """Name of the answer's schema; empty without a body, and so is the example."""
    example: Mapping[str, object] | str
    body: Schema | None = None
    body_example: Mapping[str, object] | None = None
    query: Mapping[str, Schema] | None = None
    refusals: tuple[errors.ApiError, ...] = ()
    """Beyond those that every authenticated route has."""
    public: bool = False
    """Needs no API key."""
    rights: frozenset[Right] = FULL
    """Of which the sender needs one."""
    status: int = 200
    """Of the answer."""
    content: str = bodies.JSON
    """Its media type."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request that the server sends to a customer's, as a form or in the query."""

    name: str
    """Of the OpenAPI document."""
    summary: str
    fields: Mapping[str, Schema]
    """In the order in which they are sent."""
    example: Mapping[str, str]
    optional: tuple[str, ...] = ()
    """Fields that are not in every such request."""
    more: Mapping[str, Schema] = field(default_factory=dict)
    """Further fields, by patterns of their names."""
    answer: str | None = None
    """An example of the XML that is asked for; None where the body of the answer is ignored."""

    @property
    def schema(self) -> Schema:
        """Of the form, which has no other fields."""
        required = [name for name in self.fields if name not in self.optional]
        schema: dict[str, object] = {"type": "object", "properties": self.fields, "required": required}
        if self.more:
            schema["patternProperties"] = self.more
        return {**schema, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class RestFace:
    """The REST of one face: its operations, and how it refuses."""

    title: str
    description: str
    """Of the OpenAPI document."""
    prefix: str
    """Of all its paths, for example `/v2`. Below it a path may end in `.json`."""
    operations: tuple[Operation, ...]
    schemas: Mapping[str, Schema]
    """By name, of all answers and refusals."""
    error_body: Callable[[errors.ApiError], dict[str, object]]
    """The JSON of a refusal."""
    error_response: Callable[[errors.ApiError, str, Iterable[str]], Response]
    """The answer to a refused request: the error, the request's method, the methods that the path has."""
    error_schema: Callable[[errors.ApiError], str]
    """The name of the schema of a refusal."""
    asyncapi: Mapping[str, object]
    """The AsyncAPI document of its WebSocket."""
    webhooks: tuple[Webhook, ...]
    """The requests that customers' servers get."""
    groups: Mapping[str, str]
    """By the id of an operation: the heading that it stands under."""


def record(members: Mapping[str, Schema], *, more: bool = True) -> Schema:
    """An object that always has all its members; `more` are allowed."""
    return {"additionalProperties": more, "type": "object", "properties": dict(members), "required": list(members)}


def body_schema(rows: tuple[Field, ...], more: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of a body with these fields."""
    properties = {**{row.name: row.schema for row in rows}, **(more or {})}
    required = [row.name for row in rows if row.required]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})
