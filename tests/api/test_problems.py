"""What all faces have in common about refusals."""

from trunkline.api import problems
from trunkline.errors import InvalidEnum, ResourceNotFound


def test_counters_are_the_errors_names() -> None:
    assert problems.counter(InvalidEnum("why")) == "refused_invalid_enum"
    assert problems.counter(ResourceNotFound()) == "refused_resource_not_found"


def test_an_error_of_ours_says_nothing_of_its_inside() -> None:
    error = problems.unexpected()
    assert (error.status, error.detail) == (500, "An unexpected error occurred.")
