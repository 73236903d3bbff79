"""Which program runs in which process: `python -m trunkline.workers worker FD PARENT`, or `decoder`.

FD is its end of the link, PARENT the number of the process that started it.
"""

import gc
import sys
from importlib import import_module

PROGRAMS = {"worker": "trunkline.workers.process", "decoder": "trunkline.workers.decoder.process"}


if __name__ == "__main__":
    gc.disable()  # what is imported stays until the end: to look through it for garbage took a fifth of the start
    program = import_module(PROGRAMS[sys.argv[1]])
    gc.freeze()
    gc.enable()
    program.main(int(sys.argv[2]), int(sys.argv[3]))
