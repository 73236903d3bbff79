"""Compiles the packet path (docs/performance.md). All else about the package is in pyproject.toml.

A module with a `.pxd` beside it, which gives the types of its attributes, is compiled by Cython: from its `.pyx` if it
has one, else from the Python itself. Where there is no C compiler, or no Python.h, the Python is used.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SRC = Path("src")
CORES = os.cpu_count() or 1


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
    [extension(interface) for interface in sorted(SRC.rglob("*.pxd"))],
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
