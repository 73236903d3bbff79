"""`trunkline demo`: the whole story once, in about fifteen seconds. `python -m trunkline.demo` is the same."""

import asyncio
import sys
from importlib.util import find_spec

from rich.console import Console

SECONDS = 8.0
"""Of conversation."""
SECONDS_LIMIT = 3600
_EXTRAS = ("telnyx", "websockets")
"""What the `demo` extra brings."""


def run(seconds: float = SECONDS) -> int:
    """Run the demo; the exit code: 0 all well, 1 something failed and was named, 130 interrupted."""
    console = Console()
    if missing := [name for name in _EXTRAS if find_spec(name) is None]:
        console.print(f"The demo needs {' and '.join(missing)}: pip install {' '.join(missing)}", markup=False)
        return 1
    from trunkline.demo.errors import StoryBroken
    from trunkline.demo.story import play

    console.print("A real SIP call, streamed to a WebSocket and back", style="bold")
    try:
        return asyncio.run(play(console, seconds))
    except StoryBroken as broken:
        console.print(f"FAILED: {broken}", style="bold red", highlight=False, markup=False)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(run())
