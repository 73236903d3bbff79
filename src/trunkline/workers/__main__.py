"""Starts the program of a process: `python -m trunkline.workers MODULE FD PARENT`.

MODULE has its `main`, so that a list of processes shows what each one is. FD is its end of the link, PARENT the number
of the process that started it.
"""

import gc
import sys
from importlib import import_module

if __name__ == "__main__":
    gc.disable()  # what is imported stays until the end: to look through it for garbage took a fifth of the start
    program = import_module(sys.argv[1])
    gc.freeze()
    gc.enable()
    program.main(int(sys.argv[2]), int(sys.argv[3]))
