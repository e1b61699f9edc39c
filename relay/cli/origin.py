"""The origin of a relay, as an option of a command."""

from __future__ import annotations

from urllib.parse import urlsplit

import click


def origin_option(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Return what an option holds as `checked_origin` does; None stays None."""
    return None if value is None else checked_origin(value)


def checked_origin(value: str) -> str:
    """Return an origin such as `http://127.0.0.1:8080`, without a slash at its end. Raises `click.BadParameter`."""
    try:
        parts = urlsplit(value.strip())
        is_origin = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_origin = False
    if not is_origin or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise click.BadParameter("it must be the relay's origin, such as http://127.0.0.1:8080, without a path")
    return f"{parts.scheme}://{parts.netloc}"
