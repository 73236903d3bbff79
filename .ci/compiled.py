"""Imports every module that should be compiled of the Trunkline that is installed; exit code 1 if one is not."""

import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES

from trunkline import compiled

interfaces = sorted(compiled.PACKAGE.rglob("*.pxd"))
if compiled.FALLBACK_REASON or not interfaces:
    sys.exit(f"not compiled: {compiled.FALLBACK_REASON or 'no module has a .pxd'}")
for interface in interfaces:
    name = ".".join(interface.relative_to(compiled.PACKAGE.parent).with_suffix("").parts)
    file = str(import_module(name).__file__)
    if not file.endswith(tuple(EXTENSION_SUFFIXES)):
        sys.exit(f"not compiled: {name} is {file}")
sys.stdout.write(f"{len(interfaces)} compiled modules in {compiled.PACKAGE}\n")
