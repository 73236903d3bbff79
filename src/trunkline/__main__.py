"""The program: `trunkline`, or `python -m trunkline`."""

import gc


def main() -> None:
    """The console script."""
    # What is imported stays until the end: to look through it for garbage took a third of the server's start.
    gc.disable()
    from trunkline.cli import main as command_line

    gc.freeze()
    gc.enable()
    command_line()


if __name__ == "__main__":
    main()
