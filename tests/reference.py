"""Makes tables of docs/reference/rest.md: counters from their classes, operations from those that are served. And all
of docs/reference/settings.md, from the settings.

    python tests/reference.py

writes them again, in rest.md between the page's marks; `tests/test_documents.py` compares.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from trunkline.api.operation import NO_CONTENT, Operation
from trunkline.explain import Explanation, explanations
from trunkline.faces.telnyx.rest import REST
from trunkline.media.report import LegReport
from trunkline.streaming.params import StreamReport

PAGE = Path(__file__).parent.parent / "docs/reference/rest.md"
SETTINGS_PAGE = PAGE.with_name("settings.md")
COUNTERS = (("Counters of a call's leg", LegReport), ("Counters of a stream", StreamReport))
_TYPES = {"int": "number", "float": "number", "str": "string", "bool": "boolean"}


def made() -> str:
    """The whole page with its counters and operations as they are now."""
    text = _replaced(PAGE.read_text(), "counters", _counters())
    return _replaced(text, "operations", _lines())


SETTINGS_HEAD = """# Settings

Every setting with what it means, what it takes and its default. `trunkline config` prints those in force,
`trunkline config --explain NAME` one of these entries. Made by tests/reference.py from `config.py`.

`media.workers` is the flag `--media.workers 2`, the variable `TRUNKLINE_MEDIA__WORKERS=2`, or in `trunkline.toml`:

```toml
[media]
workers = 2
```

A name with `[]` is a column of a list of tables, `[[numbers]]` in the file. "Reload" marks what SIGHUP puts in force
while the server runs; the rest is in force at the next start. [Configuration](../configuration.md) says how they work
together.
"""


def settings_page() -> str:
    """The whole page of the settings as they are now."""
    lines, section = [SETTINGS_HEAD], None
    for one in explanations():
        if _section(one) != section:
            section = _section(one)
            lines += [f"## {section}", "", "| setting | meaning | values | default | |", "|---|---|---|---|---|"]
        default = f"`{one.default}`" if one.default else "must be given"
        cells = (f"`{one.name}`", _cell(one.meaning), _cell(one.kind), default, "reload" if one.reloads else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).replace("\n## ", "\n\n## ").replace("\n\n\n", "\n\n") + "\n"


def _section(one: Explanation) -> str:
    first, dot, _ = one.name.replace("[]", "").partition(".")
    return first if dot or first in ("applications", "numbers") else "general"


def _replaced(text: str, part: str, lines: Iterator[str]) -> str:
    begin, end = f"<!-- {part}: made by tests/reference.py -->\n", f"<!-- end of {part} -->\n"
    before, _, rest = text.partition(begin)
    return before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2]


def _counters() -> Iterator[str]:
    for title, report in COUNTERS:
        yield from (f"### {title}", "", "| counter | type | meaning |", "|---|---|---|")
        [definition] = ast.parse(inspect.getsource(report)).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in pairwise([*definition.body, ast.Pass()]):
            if isinstance(statement, ast.AnnAssign) and (kind := _TYPES.get(ast.unparse(statement.annotation))):
                words = following.value if isinstance(following, ast.Expr) else None
                meaning = str(words.value) if isinstance(words, ast.Constant) else ""
                yield f"| `{ast.unparse(statement.target)}` | {kind} | {_cell(meaning)} |"
        yield ""


def _lines() -> Iterator[str]:
    for operation in REST.operations:
        yield from _operation(operation)


def _operation(operation: Operation) -> Iterator[str]:
    yield f"### {operation.method} {operation.path}"
    yield ""
    yield operation.summary + (" Needs no API key." if operation.public else "")
    yield ""
    if operation.query:
        yield from _fields("query", operation.query, ())
    body: Any = operation.body or {}
    if body.get("properties"):
        yield from _fields("field", body["properties"], body.get("required", ()))
    kind = "json" if not isinstance(operation.example, str) else "text"
    example = operation.example if isinstance(operation.example, str) else json.dumps(operation.example, indent=2)
    if operation.status == NO_CONTENT:
        yield from (f"Answers {operation.status}, without a body.", "")
    else:
        yield from (f"Answers {operation.status}:", "", f"```{kind}", example, "```", "")
    yield from ("| refused with | because |", "|---|---|")
    for error in sorted(operation.refusals, key=lambda error: error.status):
        yield f"| {error.status} {error.code} | {_cell(error.detail)} |"
    if not operation.refusals:
        yield "| | nothing beyond what every operation has |"
    yield ""


def _fields(kind: str, fields: Mapping[str, Mapping[str, Any]], required: Any) -> Iterator[str]:
    yield from (f"| {kind} | values | default | meaning |", "|---|---|---|---|")
    for name, schema in fields.items():
        default = "required" if name in required else json.dumps(schema["default"]) if "default" in schema else ""
        yield f"| `{name}` | {_values(schema)} | {default} | {_cell(schema.get('description', ''))} |"
    yield ""


def _values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    bounds = [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    return " ".join([" or ".join(kinds), *bounds])


_BOUNDS = {"minimum": "from {}", "maximum": "to {}", "maxLength": "of at most {} characters"}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(made())
    SETTINGS_PAGE.write_text(settings_page())
