"""`python -m relay` is `relay`, which starts here."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is imported, which takes most of a second, is one line too."""
    # A third of a daemon's start would be the collector's passes through what is imported to stay. What goes on for
    # long turns it on again: the daemon when it is ready, `call` and `attach` when they begin.
    gc.disable()
    try:
        from relay.cli.main import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit("Aborted!")
    run()


if __name__ == "__main__":
    main()
