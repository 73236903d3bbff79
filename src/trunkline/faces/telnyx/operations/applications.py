"""The operations on TeXML applications."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import FULL, VIEWS
from trunkline.api.operation import NUMBER, TEXT, TEXT_OR_NULL, TIME, ApiRequest, Operation, Schema, body_schema, record
from trunkline.calls.views import Application
from trunkline.faces.telnyx import queries, resources
from trunkline.faces.telnyx.fields.applications import DEFAULTS, FIELDS, MORE_SCHEMAS, OTHER_FIELDS, application_changes
from trunkline.faces.telnyx.operations.base import BAD_BODY
from trunkline.faces.telnyx.queries import APPLICATION_PAGE_LIMIT, APPLICATION_SORTS, DEFAULT_PAGE_SIZE, PAGE_LIMIT

PATH = "/v2/texml_applications"
ONE = PATH + "/{application_id}"

_METHOD: Schema = {"enum": ["get", "post"]}
_EXAMPLE: Mapping[str, object] = {
    "id": "1293384261075731499",
    "record_type": "texml_application",
    "friendly_name": "call-router",
    "active": True,
    "voice_url": "https://example.com",
    "voice_method": "post",
    "voice_fallback_url": None,
    "status_callback": None,
    "status_callback_method": "post",
    **DEFAULTS,
    "created_at": "2020-02-02T22:25:27.521Z",
    "updated_at": "2020-02-03T22:25:27.521Z",
}
_PAGE_EXAMPLE = {"page_number": 1, "page_size": DEFAULT_PAGE_SIZE, "total_pages": 1, "total_results": 1}

SCHEMAS: Mapping[str, Schema] = {
    "TexmlApplication": record(
        {
            **dict.fromkeys(_EXAMPLE, TEXT),
            **{row.name: row.schema for row in OTHER_FIELDS},
            **MORE_SCHEMAS,
            "record_type": {"const": "texml_application"},
            "active": {"type": "boolean"},
            "voice_method": _METHOD,
            "voice_fallback_url": TEXT_OR_NULL,
            "status_callback": TEXT_OR_NULL,
            "status_callback_method": _METHOD,
            "created_at": TIME,
            "updated_at": TIME,
        }
    ),
    "TexmlApplicationData": record({"data": {"$ref": "#/components/schemas/TexmlApplication"}}),
    "TexmlApplicationList": record(
        {
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/TexmlApplication"}},
            "meta": record(dict.fromkeys(_PAGE_EXAMPLE, NUMBER)),
        }
    ),
}

_BAD_FIELD: tuple[errors.ApiError, ...] = (
    errors.InvalidEnum("voice_method must be one of get, post, GET, POST", pointer="/voice_method"),
    errors.InvalidUrl("voice_url must be a http:// or https:// URL: it has another scheme", pointer="/voice_url"),
    errors.InvalidType("active must be true or false", pointer="/active"),
)
_CONFIGURED = errors.InvalidRequest("The application comes from the configuration of the server: change it there.")
_QUERY: Mapping[str, Schema] = {
    "page[number]": {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": 1},
    "page[size]": {"type": "integer", "minimum": 1, "maximum": APPLICATION_PAGE_LIMIT, "default": DEFAULT_PAGE_SIZE},
    "filter[friendly_name]": {"type": "string", "description": "Part of the name, in any case."},
    "filter[outbound_voice_profile_id]": TEXT,
    "sort": {"type": "string", "enum": list(APPLICATION_SORTS), "default": "-created_at"},
}
_BODY = body_schema((*FIELDS, *OTHER_FIELDS), MORE_SCHEMAS)
_BODY_EXAMPLE = {"friendly_name": "call-router", "voice_url": "https://example.com"}


async def _create(request: ApiRequest) -> Response:
    body, fields = await request.body()
    changes = application_changes(fields, create=True)
    applications, account = request.services.applications, request.principal.account
    view = await request.once_per_key("texml_applications", body, lambda: applications.create(account, changes))
    request.made["application_id"] = view.sid
    return _one(request, view, 201)


async def _list(request: ApiRequest) -> Response:
    query = queries.application_query(request.query())
    found = await request.services.applications.applications(request.principal.account)
    return JSONResponse(resources.applications(found, query))


async def _fetch(request: ApiRequest) -> Response:
    applications, account = request.services.applications, request.principal.account
    return _one(request, await applications.application(account, request.path["application_id"]))


async def _update(request: ApiRequest) -> Response:
    _, fields = await request.body()
    changes = application_changes(fields, create=False)
    applications, account = request.services.applications, request.principal.account
    return _one(request, await applications.update(account, request.path["application_id"], changes))


async def _delete(request: ApiRequest) -> Response:
    applications, account = request.services.applications, request.principal.account
    return _one(request, await applications.delete(account, request.path["application_id"]))


def _one(request: ApiRequest, view: Application, status: int = 200) -> Response:
    """With whole URLs for those alone who may change them."""
    whole = request.principal.right in FULL
    return JSONResponse({"data": resources.application(view, whole=whole)}, status)


OPERATIONS = (
    Operation(
        "POST",
        PATH,
        "CreateTexmlApplication",
        _create,
        "Create a TeXML application: where calls get their instructions.",
        "TexmlApplicationData",
        {"data": _EXAMPLE},
        body=_BODY,
        body_example=_BODY_EXAMPLE,
        refusals=(*BAD_BODY, errors.MissingParameter("voice_url is required", pointer="/voice_url"), *_BAD_FIELD),
        status=201,
    ),
    Operation(
        "GET",
        PATH,
        "FindTexmlApplications",
        _list,
        "List the account's applications, the newest first unless sorted otherwise; those of the configuration too. "
        "URLs are without user-info and query.",
        "TexmlApplicationList",
        {"data": [_EXAMPLE], "meta": _PAGE_EXAMPLE},
        query=_QUERY,
        refusals=(errors.InvalidEnum(f"sort must be one of {', '.join(APPLICATION_SORTS)}", pointer="/sort"),),
        rights=VIEWS,
    ),
    Operation(
        "GET",
        ONE,
        "GetTexmlApplication",
        _fetch,
        "Fetch an application. A key of the scope `full` gets its URLs as given, others without user-info and query.",
        "TexmlApplicationData",
        {"data": _EXAMPLE},
        rights=VIEWS,
    ),
    Operation(
        "PATCH",
        ONE,
        "UpdateTexmlApplication",
        _update,
        "Change an application: what is given, and nothing else. One of the configuration cannot be changed.",
        "TexmlApplicationData",
        {"data": _EXAMPLE},
        body={name: member for name, member in _BODY.items() if name != "required"},
        body_example=_BODY_EXAMPLE,
        refusals=(*BAD_BODY, _CONFIGURED, *_BAD_FIELD),
    ),
    Operation(
        "DELETE",
        ONE,
        "DeleteTexmlApplication",
        _delete,
        "Delete an application. One that the configuration has, or names, cannot be deleted.",
        "TexmlApplicationData",
        {"data": _EXAMPLE},
        refusals=(_CONFIGURED,),
    ),
)
