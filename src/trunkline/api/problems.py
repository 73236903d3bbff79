"""What all faces have in common about refusals: the name of the counter, and the answer to an error of ours. Pure."""

import re

from trunkline.errors import ApiError


def counter(error: ApiError) -> str:
    """The name under which a refusal is counted: `refused_` and the error's own name, in snake_case."""
    return "refused" + re.sub("[A-Z]", lambda capital: "_" + capital[0].lower(), type(error).__name__)


def unexpected() -> ApiError:
    """The answer to an internal error, without its cause."""
    return ApiError("An unexpected error occurred.")
