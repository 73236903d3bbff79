"""Whether the packet path runs compiled or as Python.

Every module with a `.pxd` beside it is compiled when the project is installed, if a C compiler is there (`setup.py`).
All compiled modules are used or none, since each depends on the memory layout of the others: none if one is missing, or
if in a source tree one is older than its source, or left over of a module that has no `.pxd` any more.
`TRUNKLINE_UNCOMPILED=1` disables them.
"""

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

ENV_VAR = "TRUNKLINE_UNCOMPILED"
PACKAGE = Path(__file__).parent


def _reason() -> str:
    """Why the compiled modules cannot be used; empty when they can."""
    if os.environ.get(ENV_VAR, "") not in ("", "0"):
        return f"{ENV_VAR} is set"
    in_source_tree = PACKAGE.parent.name == "src" and (PACKAGE.parent.parent / "setup.py").exists()
    for interface in sorted(PACKAGE.rglob("*.pxd")):
        built = [path for suffix in EXTENSION_SUFFIXES if (path := interface.with_suffix(suffix)).exists()]
        if not built:
            return "it was not compiled at installation; with gcc and Python's headers `pip install` compiles it"
        sources = [path for suffix in (".py", ".pyx", ".pxd") if (path := interface.with_suffix(suffix)).exists()]
        if in_source_tree and max(path.stat().st_mtime for path in sources) > built[0].stat().st_mtime:
            return f"{interface.stem} is newer than its compiled module; `make check` compiles it again"
    for left in sorted(PACKAGE.rglob("*.so")) if in_source_tree else ():
        name = left.name.partition(".")[0]
        if not left.with_name(f"{name}.pxd").exists():
            return f"{name} is no compiled module any more; `make check` removes {left.name}"
    return ""


class _SourcesOnly(FileFinder):
    """Finds this package's modules as Python source only."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_relative_to(PACKAGE):
            raise ImportError(path)
        super().__init__(path, (SourceFileLoader, SOURCE_SUFFIXES))


FALLBACK_REASON = _reason()
"""Why the packet path runs as Python; empty when it runs compiled."""
if FALLBACK_REASON:
    sys.path_hooks.insert(0, _SourcesOnly)
    sys.path_importer_cache.pop(str(PACKAGE), None)
