"""Fetch the scripts and icons of others that are kept in this repository, as each `vendor.toml` lists them.

    vendor.toml ──npm pack──▶ the package's archive ──▶ one file, or one sheet of icons ──▶ written, checksum compared

The registry is the one that npm is configured with; none is named here. What is fetched is kept as it is: no build
step, so that anyone can compare it with the package.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

REPOSITORY = Path(__file__).parents[1]
LISTS = ("relay/console/static/vendor/vendor.toml", "tests/vendor/vendor.toml")
_SECONDS = 120

_SHEET = (
    '<svg xmlns="http://www.w3.org/2000/svg">\n<!-- Lucide icons, ISC and MIT: see lucide-LICENSE.txt -->\n{}\n</svg>\n'
)
_SYMBOL = (
    '<symbol id="{}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
    'stroke-linejoin="round">{}</symbol>'
)


@attrs.frozen(kw_only=True)
class Vendored:
    """A file as it is listed: from which package, and what of it. With `icons`, `path` is the folder of those."""

    npm: str
    version: str
    path: str
    file: str
    sha256: str
    icons: tuple[str, ...] = attrs.field(default=(), converter=tuple)

    def extract(self, archive: tarfile.TarFile) -> bytes:
        """Return the file's content from the package's archive. Raises `KeyError` for what is not in it."""
        if not self.icons:
            return _read(archive, self.path)
        symbols = [
            _SYMBOL.format(name, _drawing(_read(archive, f"{self.path}/{name}.svg").decode())) for name in self.icons
        ]
        return _SHEET.format("\n".join(symbols)).encode()


def read_list(path: Path) -> list[Vendored]:
    """Read a `vendor.toml`. Raises what `tomllib` and attrs raise."""
    return [Vendored(**each) for each in tomllib.loads(path.read_text())["file"]]


def _read(archive: tarfile.TarFile, path: str) -> bytes:
    file = archive.extractfile(f"package/{path}")
    if file is None:
        raise KeyError(path)
    return file.read()


def _drawing(icon: str) -> str:
    """Return what is drawn in an icon, without the frame around it."""
    inside = re.search(r"<svg[^>]*>(.*)</svg>", icon, re.DOTALL)
    if inside is None:
        raise KeyError("an icon without a drawing")
    return " ".join(inside[1].split())


def _fetch(npm: str, version: str, folder: Path) -> tarfile.TarFile:
    command = ["npm", "pack", f"{npm}@{version}", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)  # noqa: S603 - our own list
    return tarfile.open(folder / done.stdout.split()[-1])


def _renew(path: Path, *, accept: bool) -> list[str]:
    """Write the files of a list; return a sentence for each that is not what the list says."""
    faults, sums = [], {}
    archives: dict[tuple[str, str], tarfile.TarFile] = {}
    with tempfile.TemporaryDirectory() as folder:
        for each in read_list(path):
            key = each.npm, each.version
            if key not in archives:
                archives[key] = _fetch(each.npm, each.version, Path(folder))
            content = each.extract(archives[key])
            found = hashlib.sha256(content).hexdigest()
            if found != each.sha256 and not accept:
                faults.append(f"{each.file} of {each.npm} {each.version} has the checksum {found}; it was not written.")
                continue
            (path.parent / each.file).write_bytes(content)
            sums[each.sha256] = found
    if accept:
        _write_sums(path, sums)
    return faults


def _write_sums(path: Path, sums: Mapping[str, str]) -> None:
    text = path.read_text()
    for old, new in sums.items():
        text = text.replace(f'sha256 = "{old}"', f'sha256 = "{new}"')
    path.write_text(text)


def main() -> None:
    """Renew all lists."""
    parser = argparse.ArgumentParser(prog="scripts/vendor", description="Fetch again what is vendored.")
    parser.add_argument("--accept", action="store_true", help="write the checksums of what came into vendor.toml")
    accept = parser.parse_args().accept
    faults = [fault for each in LISTS for fault in _renew(REPOSITORY / each, accept=accept)]
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
