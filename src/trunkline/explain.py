"""What a setting means: for `trunkline config --explain` and docs/reference/settings.md, from `config.py` itself."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.reload import RELOADABLE
from trunkline.settings import PREFIX

_TYPES = {"bool": "true or false", "int": "integer", "float": "number", "str": "text", "Path": "path"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A setting, in words."""

    name: str
    """Dotted: `media.workers`. One of a list of tables: `numbers[].pattern`."""
    meaning: str
    kind: str
    """What values it takes."""
    default: str
    """Empty for what must be given."""
    reloads: bool
    """SIGHUP puts it in force; else the next start does."""

    @property
    def flag(self) -> str:
        """Empty for one of a list of tables, which has no flag of its own."""
        return "" if "[]" in self.name else f"--{self.name}"

    @property
    def variable(self) -> str:
        """The variable of the environment, empty as `flag` is."""
        return "" if "[]" in self.name else PREFIX + self.name.upper().replace(".", "__")


def explanations(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Explanation]:
    """Every setting, in the order of the source; those of a list's tables follow the list."""
    texts = _texts(model)
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        full = prefix + (field.alias or name)
        if _is_table(kind):
            yield from explanations(kind, f"{full}.")
            continue
        reloads = full.partition("[]")[0] in RELOADABLE
        yield Explanation(full, texts.get(name, ""), _kind(field), _default(field), reloads)
        table = get_args(kind)[0] if get_origin(kind) is tuple else None
        if table is not None and _is_table(table):
            yield from explanations(table, f"{full}[].")


def explain(name: str) -> list[Explanation]:
    """The settings of this name: one, a list with those of its tables, or a section's. Raises StartupError."""
    found = list(explanations())
    chosen = [one for one in found if one.name == name or one.name.startswith((f"{name}.", f"{name}[]."))]
    if not chosen:
        near = get_close_matches(name, [one.name for one in found], 1)
        raise StartupError(f"no such setting: {name}" + "".join(f"; is it {one}?" for one in near))
    return chosen


def _texts(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each attribute, its own and those of the classes that it extends, in one line each."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base.__module__.startswith("pydantic"):
            continue
        [definition] = ast.parse(inspect.getsource(base)).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in pairwise([*definition.body, ast.Pass()]):
            words = following.value if isinstance(following, ast.Expr) else None
            if isinstance(statement, ast.AnnAssign) and isinstance(words, ast.Constant):
                found[ast.unparse(statement.target)] = " ".join(str(words.value).split())
    return found


def _kind(field: FieldInfo) -> str:
    words = _words(field.annotation)
    unit = " characters" if words == "text" else " entries" if words.startswith("list") else ""
    found = {
        name: getattr(each, name)
        for each in field.metadata
        for name in ("ge", "gt", "le", "min_length", "max_length")
        if getattr(each, name, None) is not None
    }
    low, high = found.get("ge", found.get("min_length")), found.get("le", found.get("max_length"))
    if low is not None:
        words += f", {low:,} to {high:,}{unit}" if high is not None else f", {low:,}{unit} or more"
    return words + (f", above {found['gt']:,}" if "gt" in found else "")


def _words(annotation: Any) -> str:
    """A type, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in arguments if each is not NoneType))
    if origin is tuple:
        inner = arguments[0]
        return (
            "list of tables" if isinstance(inner, type) and issubclass(inner, BaseModel) else f"list: {_words(inner)}"
        )
    if hasattr(annotation, "__metadata__"):
        return _words(arguments[0])
    name = getattr(annotation, "__name__", str(annotation))
    return _TYPES.get(name, "network" if name.endswith("Network") else name)


def _is_table(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "" if field.default_factory is None else "made"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def in_words(one: Explanation, now: str | None) -> str:
    """For a terminal, lines without breaks; `now` is the value in force and where it comes from."""
    facts = [f"default: {one.default}" if one.default else "must be given"]
    if now is not None:
        facts.append(f"now: {now}")
    facts.append("in force at a reload (SIGHUP)" if one.reloads else "in force at the next start")
    lines = [f"{one.name}: {one.kind.replace('`', '')}", f"  {one.meaning}", *(f"  {fact}" for fact in facts)]
    if one.flag:
        lines.append(f"  {one.flag} or {one.variable}")
    return "\n".join(lines)
