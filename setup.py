"""Compiles the packet path (docs/performance.md). All else about the package is in pyproject.toml.

A module with a `.pxd` beside it, which gives the types of its attributes, is compiled by Cython: from its `.pyx` if it
has one, else from the Python itself. Where there is no C compiler, or no Python.h, the Python is used. The build says
what that costs, which pip shows with `-v`, and so does each start of the server.
"""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SRC = Path("src")
CORES = os.cpu_count() or 1
COST = "streams will take up to twice the CPU"
METADATA = {"egg_info", "dist_info", "sdist"}
"""Commands by which pip asks for no more than metadata, before it builds."""


def missing() -> list[str]:
    """What compiling takes and this machine lacks."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    found = {"C compiler": shutil.which(compiler), "Python headers": Path(sysconfig.get_path("include"), "Python.h")}
    return [what for what, where in found.items() if where is None or not Path(where).exists()]


def wanted() -> list[Path]:
    """The interfaces of the modules to compile; `make demo` and who lacks a compiler go without."""
    if os.environ.get("TRUNKLINE_UNCOMPILED", "") not in ("", "0") or METADATA & set(sys.argv):
        return []
    if lacking := missing():
        sys.stderr.write(f"Trunkline: no {' and no '.join(lacking)}: the packet path is not compiled, and {COST}\n")
        return []
    return sorted(SRC.rglob("*.pxd"))


def extension(interface: Path) -> Extension:
    """The module whose interface this is."""
    module = interface.with_suffix("")
    source = next(path for suffix in (".pyx", ".py") if (path := module.with_suffix(suffix)).exists())
    name = ".".join(module.relative_to(SRC).parts)
    # Debugging symbols would take half as long again.
    return Extension(name, [str(source)], extra_compile_args=["-O2", "-g0", "-Wno-array-bounds"])


# Python would import the compiled module of a former interface instead of the module's source.
for built in SRC.rglob("*.so"):
    if not built.with_name(built.name.partition(".")[0] + ".pxd").exists():
        built.unlink()

extensions = cythonize(
    [extension(interface) for interface in wanted()],
    build_dir="build",
    force=True,  # each module depends on the memory layout of others, and Cython does not track all of it
    compiler_directives={
        "language_level": 3,
        "annotation_typing": False,  # annotations are for mypy; the C types are in the .pxd
        "binding": False,
        "nonecheck": True,  # an attribute of None raises AttributeError, as in Python, instead of a crash
    },
)
for made in extensions:
    made.optional = True  # cythonize makes new objects without it

setup(
    ext_modules=extensions,
    options={"build_ext": {"parallel": CORES, "force": True}},
)
