"""Hosts of their own for the nodes of a local cluster: network namespaces on a bridge, whose links can be taken down.

    HAProxy, carrier, clients, PostgreSQL ── bridge 10.213.7.1 ──┬── link ── 10.213.7.11 (relay-1)
                                                                 ├── link ── 10.213.7.12 (relay-2)
                                                                 └── link ── 10.213.7.13 (relay-3)

A host whose link is down has vanished: what is sent to it is not answered, and no connection is refused or reset.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import attrs

from scripts.local_postgresql import NotInstalled

_NET = "10.213.7"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@attrs.frozen
class Host:
    """A network namespace. `namespace` and `link` are what the kernel calls them, on our side of the link."""

    address: str
    namespace: str
    link: str

    @property
    def wrapper(self) -> tuple[str, ...]:
        """Return what a command is given to, so that it runs there."""
        return (find_ip(), "netns", "exec", self.namespace)

    def vanish(self) -> None:
        """Take its link down: nothing comes from it or gets there any more."""
        _ip("link", "set", self.link, "down")

    def come_back(self) -> None:
        """Take its link up again."""
        _ip("link", "set", self.link, "up")

    def connections_to(self, other: Host) -> int:
        """Count the connections that are open from there to another host."""
        command = [*self.wrapper, shutil.which("ss", path=_PATH) or "ss", "-Htn", "state", "established"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own words
        return sum(f"{other.address}:" in line.split()[-1] for line in shown.splitlines() if line.split())


@attrs.frozen
class Hosts:
    """The hosts by the names of their nodes; `gateway` is the address of this machine, as they reach it."""

    gateway: str
    by_name: dict[str, Host]


def find_ip() -> str:
    """Return where iproute2's `ip` is. Raises `NotInstalled`, also for who may not make namespaces."""
    if os.geteuid() != 0:
        raise NotInstalled("Network namespaces need root: run this as root")
    found = shutil.which("ip", path=_PATH)
    if found is None:
        raise NotInstalled("iproute2 is not installed: apt-get install iproute2")
    return found


@contextmanager
def run_hosts(names: Sequence[str]) -> Iterator[Hosts]:
    """Make a host for each name, for the length of the block. Raises `NotInstalled` where that cannot be done."""
    find_ip()
    bridge = "rly-br"
    hosts = {
        name: Host(f"{_NET}.{10 + number}", f"rly-{name}", f"rly-l{number}") for number, name in enumerate(names, 1)
    }
    _remove(bridge, hosts.values())  # what a run that was killed has left
    try:
        try:
            _ip("link", "add", bridge, "type", "bridge")
        except subprocess.CalledProcessError as error:
            raise NotInstalled(f"This machine makes no network namespaces: {error.stderr.strip()}") from error
        _ip("address", "add", f"{_NET}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in hosts.values():
            _ip("netns", "add", host.namespace)
            _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("link", "set", host.link, "master", bridge, "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")
            _ip("-n", host.namespace, "link", "set", "lo", "up")
        yield Hosts(f"{_NET}.1", hosts)
    finally:
        _remove(bridge, hosts.values())


def _remove(bridge: str, hosts: Iterable[Host]) -> None:
    for host in hosts:
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", host.link)
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", host.namespace)
    with suppress(subprocess.CalledProcessError):
        _ip("link", "delete", bridge)


def _ip(*words: str) -> None:
    subprocess.run([find_ip(), *words], check=True, capture_output=True, text=True)  # noqa: S603 - our own words
