"""The console's style sheet, scripts and icons, each under a name that changes with its content: it is kept for ever.

Files are read once, when the daemon starts: they are small, and a page never waits for a disk.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import attrs

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_DIGITS = 10
_VERSION = re.compile(r"-\d.*")


@attrs.frozen
class StaticFile:
    """A file as it is sent."""

    content: bytes = attrs.field(repr=False)
    media_type: str


class StaticFiles:
    """The files by the names that they are served under: with the beginning of their hash in it."""

    def __init__(self) -> None:
        root = resources.files("relay.console") / "static"
        self._names: dict[str, str] = {}
        self._packages: dict[str, str] = {}
        self._files: dict[str, StaticFile] = {}
        for each in (*root.iterdir(), *(root / "vendor").iterdir()):
            stem, _, ending = each.name.rpartition(".")
            if ending in _TYPES:
                content = each.read_bytes()
                served = f"{stem}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}.{ending}"
                self._names[each.name] = served
                self._packages.setdefault(_VERSION.sub("", stem), each.name)
                self._files[served] = StaticFile(content, _TYPES[ending])

    def find(self, served: str) -> StaticFile | None:
        """Return the file that is served under a name."""
        return self._files.get(served)

    def url(self, name: str) -> str:
        """Return the path of a file, by its name in the source. Raises `KeyError` for one that is not there."""
        return f"/console/static/{self._names[name]}"

    def vendored(self, package: str) -> str:
        """Return the path of what is vendored of a package, by its name without version. Raises `KeyError`."""
        return self.url(self._packages[package])
