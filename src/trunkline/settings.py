"""Where settings come from: default < `trunkline.toml` < credentials < `TRUNKLINE_*` environment < flag.

Nested names are `media.workers` in flags, `TRUNKLINE_MEDIA__WORKERS` in the environment and `[media] workers` in
the file. `load` also remembers which of them won, so that `trunkline config` can say it. Secrets: `secret_files.py`.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trunkline import compiled, secret_files
from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.secret_files import SECRETS, without_secrets
from trunkline.setting_types import Clash

DEFAULT_FILE = Path("trunkline.toml")
PREFIX = "TRUNKLINE_"
TABLES = frozenset({"applications", "numbers", "sip.trunks", "sip.phones"})
"""Lists of tables: from the file as TOML has them, from flags and the environment as JSON; a later layer's replaces an
earlier one's whole."""
HIDDEN = "(set)"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value, keyed by dotted name: `default`, `file`, `credential`,
    `environment` or `flag`."""

    settings: Settings
    origins: dict[str, str]
    unknown_variables: dict[str, str]
    """Variables of the environment that look like ours and are none, each with the one that is most like it. An
    orchestrator makes such by itself, Kubernetes `TRUNKLINE_SERVICE_HOST` for a service of that name."""
    secrets_in_flags: tuple[str, ...] = ()
    """The names of flags that hold secrets, where every user of this machine can read them."""


def leaves(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings, in the order of the source. A list of tables is one setting."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def plain(settings: Settings, name: str) -> object:
    """The same as JSON has it: text, numbers, lists, and an object for each table."""
    return _plain(name, value_of(settings, name))


def _plain(name: str, value: object) -> object:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {field.alias or leaf: _plain(leaf, getattr(value, leaf)) for leaf, field in fields}
    if isinstance(value, tuple):
        return [_plain(name, one) for one in value]
    return value if value is None or isinstance(value, int | float) else _shown(name, value)


def shown(settings: Settings, name: str) -> str:
    """The value behind a dotted name as it may be shown: secrets hidden, a list of tables with a line for each."""
    value = value_of(settings, name)
    if name in TABLES and isinstance(value, tuple):
        return "\n".join(_line(table) for table in value)
    return _shown(name, value)


def _shown(name: str, value: object) -> str:
    """Secrets are hidden, and so is what may hold them in a URL."""
    if name.rpartition(".")[2] in SECRETS and value:
        return HIDDEN
    return without_secrets(value) if isinstance(value, str) and "://" in value else str(value)


def _line(table: BaseModel) -> str:
    words = []
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        words.append(f"{field.alias or name}={_shown(name, value)}")
    return " ".join(words)


def parse_flags(arguments: Sequence[str]) -> dict[str, str]:
    """`--media.workers 2 --http.port=9000` as dotted names to values. Raises StartupError for anything else."""
    flags: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            raise StartupError(f"unexpected argument {argument!r}; settings are given as --section.name VALUE")
        name, equals, value = argument[2:].partition("=")
        name = name.replace("-", "_")
        if name not in set(leaves()):
            raise StartupError(f"no such setting: --{name} ({_hint(name, '--', leaves())})")
        if not equals:
            value = next(rest, "")
            if not value:
                raise StartupError(f"--{name} needs a value")
        flags[name] = value
    return flags


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], file: Path | None, *, base: Mapping[str, Any] | None = None
) -> Loaded:
    """All layers together. `file` None means `trunkline.toml` in the working directory, if it is there. `base` (origin
    `dev`) is what the settings are instead of their defaults; with it only a file that is named counts.

    Raises StartupError with one line that names the setting, its value and where the value came from.
    """
    found, unknown_variables = _read_environment(environ)
    layers = {
        "dev": dict(base or {}),
        "file": {} if base is not None and file is None else _read_file(file),
        "credential": secret_files.credentials(environ),
        "environment": found,
        "flag": _nest(flags),
    }
    origins = dict.fromkeys(leaves(), "default")
    values: dict[str, Any] = {}
    for origin, layer in layers.items():
        secret_files.resolve(layer, origin)
        _merge(values, layer)
        origins.update(dict.fromkeys(_paths(layer), origin))
    secret_files.complete(values, environ)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise StartupError(_in_words(error, origins)) from None
    _check_documents(settings, origins)
    found_in_flags = tuple(secret_files.in_flags(flags))
    return Loaded(settings, {name: origins[name] for name in leaves()}, unknown_variables, found_in_flags)


def with_value(model: Any, name: str, value: object) -> Any:
    """Settings, or a section of them, with another value behind a dotted name."""
    first, _, rest = name.partition(".")
    return model.model_copy(update={first: with_value(getattr(model, first), rest, value) if rest else value})


def _check_documents(settings: Settings, origins: Mapping[str, str]) -> None:
    """Raises StartupError for a document that no call could run."""
    for name, text in settings.documents:
        from trunkline.texml.document import DocumentError, parse

        try:
            parse(text)
        except DocumentError as error:
            raise StartupError(f"bad setting {name} ({origins[name.partition('[')[0]]}): {error}") from None


def value_of(settings: Settings, name: str) -> object:
    """The value behind a dotted name."""
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _read_file(file: Path | None) -> dict[str, Any]:
    path = file or DEFAULT_FILE
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if file is None:
            return {}
        raise StartupError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise StartupError(f"{path} is not TOML: {error}") from None
    # A flag or variable of the same section would hide it.
    for section in _sections():
        if not isinstance(values.get(section, {}), dict):
            raise StartupError(f"bad setting {section} (file): it is a section, written [{section}]")
    return values


def _read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What is set, and `Loaded.unknown_variables`. Raises StartupError for an unknown name in a section of ours: a
    misspelt setting could leave a door open."""
    found: dict[str, Any] = {}
    unknown_variables: dict[str, str] = {}
    known = {PREFIX + name.upper().replace(".", "__"): name for name in leaves()}
    for key, value in environ.items():
        if not key.startswith(PREFIX) or key == compiled.ENV_VAR:
            continue
        name = known.get(key.upper())
        if name is not None:
            _merge(found, _nest({name: value}))
        elif key.removeprefix(PREFIX).partition("__")[0].lower() in _sections() and "__" in key:
            raise StartupError(f"no such setting: {key} ({_hint(key, '', known)})")
        else:
            unknown_variables[key] = get_close_matches(key.upper(), known, 1, cutoff=0)[0]
    return found, unknown_variables


def _sections() -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in leaves() if "." in name)


def _hint(name: str, mark: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return "".join(f"is it {mark}{one}? " for one in near) + "`trunkline config` lists them all"


def _nest(flat: Mapping[str, str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return nested


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _paths(layer: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in layer.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _in_words(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, Clash):
        names = [".".join(map(str, (*first["loc"], name))) for name in cause.names]
        at_fault = [name for name in names if origins[name] != "default"] or names
        return f"bad setting {', '.join(f'{name} ({origins[name]})' for name in at_fault)}: {text}"
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])[1:]
    leaf = next((leaf for leaf in origins if name == leaf or name.startswith((f"{leaf}[", f"{leaf}."))), name)
    origin = origins.get(leaf, "file")
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, list(leaves()), 1)
        return f"no such setting: {name} ({origin})" + "".join(f"; is it {one}?" for one in near)
    given = _given(first, leaf in TABLES and "." not in name.removeprefix(leaf))
    return f"bad setting {name} ({origin}): {text}{given}"


def _given(error: ErrorDetails, tables: bool) -> str:
    """The value at fault, where it can hold no more than the fault: no password for one."""
    hidden = tables or error["loc"][-1] in SECRETS or isinstance(error["input"], dict)
    return "" if hidden else f", got {error['input']!r}"
