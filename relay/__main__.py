"""`python -m relay` is `relay`, which starts here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is imported, which takes most of a second, is one line too."""
    try:
        from relay.cli.main import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit("Aborted!")
    run()


if __name__ == "__main__":
    main()
