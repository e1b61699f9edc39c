"""Real reverse proxies in front of a daemon, on loopback, with pooled connections to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from relay.simulator.load.local_daemon import LocalDaemon
from scripts.local_cluster import is_listening
from tests.e2e.calling_out import free_port
from tests.limits import HANGING

DEPLOY = Path(__file__).parents[2] / "deploy"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def marks_of(program: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that starts a program: skipped where it is not installed, but never on CI."""
    is_missing = shutil.which(program, path=_PATH) is None and os.environ.get("CI") != "true"
    return [pytest.mark.skipif(is_missing, reason=f"{program} is not installed: apt-get install {program}")]


def _find(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    assert found is not None, f"{program} is not installed"
    return found


def nginx(directory: Path, port: int, upstream: str) -> list[str]:
    """Configure nginx as its manual has it for pooled upstream connections and WebSockets; return the command."""
    return _start_nginx(
        directory,
        f"""
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream relay {{ server {upstream}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 8m;
        location / {{
            proxy_pass http://relay;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_next_upstream off;
            proxy_read_timeout 10s;
        }}
        location /unbuffered/ {{
            proxy_pass http://relay/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_set_header Host $http_host;
            proxy_next_upstream off;
            proxy_read_timeout 10s;
        }}
    }}
""",
    )


def _start_nginx(directory: Path, site: str) -> list[str]:
    """Write the file that nginx starts with, around what stands in one of `/etc/nginx/conf.d`; return the command."""
    temporary = "\n".join(
        f"    {name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"""
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
{temporary}
{site}
}}
"""
    )
    return [_find("nginx"), "-p", str(directory), "-e", f"{directory}/nginx.log", "-c", f"{directory}/nginx.conf"]


def haproxy(directory: Path, port: int, upstream: str) -> list[str]:
    """Configure HAProxy to share its server connections between all its clients; return the command."""
    (directory / "haproxy.cfg").write_text(
        f"""
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 10s
    retries 0
    http-reuse always
frontend public
    bind 127.0.0.1:{port}
    http-request set-path %[path,regsub(^/unbuffered/,/)]
    default_backend relay
backend relay
    server relay {upstream} pool-max-conn 8
"""
    )
    return [_find("haproxy"), "-db", "-q", "-f", str(directory / "haproxy.cfg")]


def operators_nginx(directory: Path, port: int, upstream: str) -> list[str]:
    """Configure nginx by the file that operators are given, with these addresses; return the command."""
    site = (DEPLOY / "nginx.conf").read_text()
    for given, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("127.0.0.1:8080;\n    keepalive", f"{upstream};\n    keepalive"),
        ("/etc/nginx/voice.example.com.crt", f"{directory}/server.pem"),
        ("/etc/nginx/voice.example.com.key", f"{directory}/server.pem"),
        ("server_name voice.example.com", "server_name localhost"),
    ):
        assert site.count(given) == 1, given
        site = site.replace(given, here)
    return _start_nginx(directory, site)


def operators_haproxy(directory: Path, port: int, upstream: str) -> list[str]:
    """Configure HAProxy by the file that operators are given, with these addresses; return the command."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    for given, here in (
        (
            "bind :443 ssl crt /etc/haproxy/voice.example.com.pem",
            f"bind 127.0.0.1:{port} ssl crt {directory}/server.pem",
        ),
        ("server relay 127.0.0.1:8080", f"server relay {upstream}"),
    ):
        assert text.count(given) == 1, given
        text = text.replace(given, here)
    (directory / "haproxy.cfg").write_text(text)
    return [_find("haproxy"), "-db", "-q", "-f", str(directory / "haproxy.cfg")]


Configure = Callable[[Path, int, str], list[str]]


@asynccontextmanager
async def behind(proxy: Configure, daemon: LocalDaemon, directory: Path, port: int | None = None) -> AsyncIterator[str]:
    """Run a proxy in front of a daemon for the length of the block; the value is its origin, with plain HTTP."""
    port = port or free_port()
    command = proxy(directory, port, daemon.url.removeprefix("http://"))
    async with await trio.open_file(directory / "proxy.out", "wb") as output:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=output.fileno(), stderr=subprocess.STDOUT
        )
    try:
        with trio.fail_after(HANGING):
            while not await is_listening(port):
                assert process.poll() is None, (directory / "proxy.out").read_text()
                await trio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with trio.move_on_after(HANGING, shield=True):
            await process.wait()
