"""The AsyncAPI document: every message of both ways, with references that lead somewhere."""

import json
from typing import Any

from trunkline.faces.telnyx import asyncapi
from trunkline.streaming.messages import FROM_APP
from trunkline.streaming.schemas import to_app

DOCUMENT: Any = asyncapi.document()


def lookup(reference: str) -> Any:
    found = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["$ref"]] if "$ref" in value else [one for each in value.values() for one in references(each)]
    return [one for each in value for one in references(each)] if isinstance(value, list) else []


def test_both_ways_have_their_messages() -> None:
    def events(operation: str) -> list[str]:
        return [lookup(lookup(one["$ref"])["$ref"])["name"] for one in DOCUMENT["operations"][operation]["messages"]]

    assert events("toApp") == list(to_app())
    assert events("fromApp") == list(FROM_APP)
    assert [one["action"] for one in DOCUMENT["operations"].values()] == ["send", "receive"]


def test_every_reference_leads_somewhere_and_all_of_it_is_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert len(references(DOCUMENT)) == 28
    for one in references(DOCUMENT):
        assert lookup(one)


def test_examples_and_meanings_stand_beside_the_payload() -> None:
    made = DOCUMENT["components"]["messages"]
    assert made["startToApp"]["examples"][0]["payload"]["event"] == "start"
    assert made["clearFromApp"]["summary"] == "Stop playing and empty the queue."
    assert "summary" not in made["startToApp"]
    assert "examples" not in made["clearFromApp"]
    assert all("examples" not in one["payload"] and "description" not in one["payload"] for one in made.values())
