"""How `relay top` and `relay tail` are told which daemon they look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from relay.cli.origin import origin_option


def entrance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--url` and `--as` to a command."""
    url = click.option(
        "--url",
        metavar="ORIGIN",
        callback=origin_option,
        help="A daemon elsewhere, with an operator's token in RELAY_OPERATOR_TOKEN. "
        "[default: that of the database of the settings]",
    )
    operator = click.option(
        "--as", "operator", metavar="NAME", help="The operator that you are, where there are several."
    )
    return url(operator(command))
