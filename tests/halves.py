"""The two halves of what the packet path does in C: as compiled, and as the Python that is the reference."""

import importlib.util
from types import ModuleType

import pytest

from trunkline import compiled, sockets, speedups


def as_python(name: str) -> ModuleType:
    """The Python of a compiled module."""
    spec = importlib.util.spec_from_file_location(f"{name}_as_python", compiled.PACKAGE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PYTHON, PYTHON_SOCKETS = as_python("speedups"), as_python("sockets")
PAIRS = [(speedups, PYTHON), (sockets, PYTHON_SOCKETS)]
SPEEDUPS = pytest.mark.parametrize("made", PAIRS[0], ids=["compiled", "as Python"])
SOCKETS = pytest.mark.parametrize("made", PAIRS[1], ids=["compiled", "as Python"])
