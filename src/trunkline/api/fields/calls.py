"""The fields of requests about calls (`texml-api-fields.txt`, UpdateTexmlCall)."""

from trunkline.api.fields.readers import Field, one_of

UPDATE_STATUS = Field(
    "Status",
    one_of("completed"),
    {
        "type": "string",
        "enum": ["completed"],
        "description": "`completed` ends the call.",
        "example": "completed",
    },
    required=True,
)

UPDATE_LATER = ("Url", "Texml", "FallbackUrl", "StatusCallback")
"""Fields of a call update that are documented and not supported yet; their methods mean nothing without them."""
